"""TensorBoard event files, read without TensorBoard.

A file is a row of TFRecords (length, its checksum, bytes, their checksum), each one `Event` message in
protobuf's wire format. Only scalars are read: `simple_value`, and tensors of one float. A cut or damaged
record ends the file.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from tutor_agent.diagnose.readers.names import canonical

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tutor_agent.diagnose.readers.metrics import MetricReader

PATTERN = "events.out.tfevents.*"
_LONGEST_RECORD = 2**24
_MOST_RECORDS = 200_000
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_STEP, _SUMMARY = 2, 5
_VALUE = 1
_TAG, _SIMPLE_VALUE, _TENSOR = 1, 2, 8
_TENSOR_CONTENT, _FLOAT_VALUES = 4, 5

Field = tuple[int, int | bytes]


def is_event_file(path: Path) -> bool:
    """Whether the name is that of an event file."""
    return ".tfevents." in path.name


def feed_events(path: Path, reader: MetricReader) -> None:
    """Give the scalars of an event file to `reader`, all that share a step as one point."""
    points: dict[int, dict[str, float]] = {}
    for step, tag, value in scalars(path):
        name = canonical(tag)
        if name is not None:
            points.setdefault(step, {}).setdefault(name, value)
    for step in sorted(points):
        reader.add_point({**points[step], "step": float(step)})


def scalars(path: Path) -> Iterator[tuple[int, str, float]]:
    """Yield (step, tag, value) of every scalar, as far as the file is sound.

    Raises:
        OSError: The file cannot be read.
    """
    for record in _records(path):
        try:
            yield from _scalars_of(record)
        except (ValueError, IndexError, struct.error):
            return


def _records(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        for _ in range(_MOST_RECORDS):
            head = stream.read(12)
            if len(head) < 12:
                return
            (length,) = struct.unpack_from("<Q", head)
            if length > _LONGEST_RECORD:
                return
            record = stream.read(length)
            if len(record) < length or len(stream.read(4)) < 4:
                return
            yield record


def _scalars_of(record: bytes) -> Iterator[tuple[int, str, float]]:
    step = 0
    summaries: list[bytes] = []
    for number, value in _fields(record):
        if number == _STEP and isinstance(value, int):
            step = value
        elif number == _SUMMARY and isinstance(value, bytes):
            summaries.append(value)
    for summary in summaries:
        for number, value in _fields(summary):
            if number == _VALUE and isinstance(value, bytes):
                tag, scalar = _tagged(value)
                if scalar is not None:
                    yield step, tag, scalar


def _tagged(message: bytes) -> tuple[str, float | None]:
    tag, scalar = "", None
    for number, value in _fields(message):
        if number == _TAG and isinstance(value, bytes):
            tag = value.decode("utf-8", errors="replace")
        elif number == _SIMPLE_VALUE and isinstance(value, bytes) and len(value) == 4:
            (scalar,) = struct.unpack("<f", value)
        elif number == _TENSOR and isinstance(value, bytes):
            scalar = _one_float(value)
    return tag, scalar


def _one_float(tensor: bytes) -> float | None:
    for number, value in _fields(tensor):
        if (
            number in {_TENSOR_CONTENT, _FLOAT_VALUES}
            and isinstance(value, bytes)
            and len(value) == 4
        ):
            return float(struct.unpack("<f", value)[0])
    return None


def _fields(message: bytes) -> Iterator[Field]:
    """Yield (field number, value): varints as numbers, everything else as bytes."""
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, place = _varint(message, place)
            yield number, value
            continue
        if kind == _BYTES:
            size, place = _varint(message, place)
        elif kind in {_FIXED32, _FIXED64}:
            size = 4 if kind == _FIXED32 else 8
        else:
            raise ValueError(kind)
        if place + size > len(message):
            raise ValueError(size)
        yield number, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        place += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, place
    raise ValueError(place)
