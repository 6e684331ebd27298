"""The text of a log file in bounded memory: all of a small one, the telling lines of a huge one.

The head tells the settings, the tail the end. Between them only lines with metrics or trouble matter:
every broken number is kept, and of ordinary metric lines as many as a curve needs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tutor_agent.core.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

_HEAD, _TAIL = 3 * 2**20, 7 * 2**20
_CHUNK = 2**20
_MIDDLE_LINES, _TROUBLE_LINES = 6000, 400
_LONGEST_LINE = 4000
_METRIC_LINE_BYTES = 1000
_TELLING = re.compile(
    rb"loss|Error|Exception|Killed|OVERFLOW|timed? ?out|Timeout|out of memory|error:"
)
_BROKEN = re.compile(rb"\b(?:nan|NaN|inf)\b")
_WIDE = {b"\xff\xfe", b"\xfe\xff"}


def text_of(path: Path) -> str:
    """Return the text of a log, decoded as whatever it seems to be.

    Raises:
        UnreadableError: The file cannot be opened or read.
    """
    try:
        with path.open("rb") as stream:
            return decoded(_bytes_of(stream, path.stat().st_size))
    except OSError as error:
        raise UnreadableError(
            f"{str(path)!r} cannot be read: {error.strerror}. Check that it is a file you may read.",
            f"无法读取 {str(path)!r}：{error.strerror}。请确认它是可读的文件。",
        ) from None


def decoded(raw: bytes) -> str:
    """Decode UTF-8, UTF-16 with a mark, or GB 18030; what fits none is replaced."""
    if raw[:2] in _WIDE:
        return raw.decode("utf-16", errors="replace")
    text = raw.decode("utf-8-sig", errors="replace")
    if text.count("\ufffd") <= len(text) / 50:
        return text
    return raw.decode("gb18030", errors="replace")


def _bytes_of(stream: BinaryIO, size: int) -> bytes:
    raw = stream.read(_HEAD)
    if size <= _HEAD + _TAIL or raw[:2] in _WIDE:
        return raw + stream.read(_TAIL)
    middle = size - _TAIL - _HEAD
    every = max(1, middle // (_MIDDLE_LINES * _METRIC_LINE_BYTES))
    kept = b"\n".join(_telling_lines(stream, middle, every))
    return raw + b"\n" + kept + b"\n" + stream.read(_TAIL)


def _telling_lines(stream: BinaryIO, middle: int, every: int) -> Iterator[bytes]:
    """Yield the lines of the next `middle` bytes that hold trouble, and every so many with a loss."""
    trouble, metrics, told = 0, 0, 0
    for line, found in _lines_with(stream, middle):
        if found == b"loss":
            metrics += 1
            broken = _BROKEN.search(line) is not None
            if told < 2 * _MIDDLE_LINES and (broken or metrics % every == 0):
                told += 1
                yield line
        elif trouble < _TROUBLE_LINES:
            trouble += 1
            yield line


def _lines_with(stream: BinaryIO, middle: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the lines that hold a telling word, with that word; a line over two chunks stays whole."""
    rest = b""
    while middle > 0:
        chunk = stream.read(min(_CHUNK, middle))
        if not chunk:
            return
        middle -= len(chunk)
        chunk = rest[-_LONGEST_LINE:] + chunk
        end = chunk.rfind(b"\n") + 1
        rest = chunk[end:]
        place = 0
        for match in _TELLING.finditer(chunk, 0, end):
            if match.start() < place:
                continue
            start = chunk.rfind(b"\n", 0, match.start()) + 1
            place = chunk.find(b"\n", match.end()) + 1
            yield chunk[start : min(place - 1, start + _LONGEST_LINE)], match[0]
