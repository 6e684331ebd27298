"""CSV and TSV of any dialect, with broken rows named by their line."""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from tutor_agent.core.encodings import has_stray_bytes, open_text
from tutor_agent.core.row_roles import is_known_name
from tutor_agent.core.row_types import MAX_ROW_CHARACTERS, BrokenRow, Row
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_SAMPLE = 256 * 1024
_MAX_LINES = 20_000
_ALONE = "\x1f"
_DELIMITERS = (",", "\t", ";", "|")
_SENTENCE = re.compile(r"[。！？；，!?;]|\.\s|\.$|\s\S+\s\S+\s\S+\s")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a delimited file is written."""

    delimiter: str
    quote: str | None = '"'
    escape: str | None = None

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Return a strict reader over `lines`."""
        if self.quote is None:
            return csv.reader(lines, delimiter=self.delimiter, quoting=csv.QUOTE_NONE, strict=True)
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            escapechar=self.escape,
            doublequote=self.escape is None,
            strict=True,
        )


@dataclass(frozen=True, slots=True)
class Record:
    """The fields of one record, or what is wrong with it."""

    line: int
    fields: list[str]
    fault: Text | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Dialect and header of a file."""

    dialect: Dialect
    columns: tuple[str, ...]
    header: bool


def read_layout(path: Path, encoding: str) -> Layout:
    """Find dialect and columns from the beginning of the file."""
    with open_text(path, encoding) as stream:
        sample = stream.read(_SAMPLE)
        whole = len(sample) < _SAMPLE
    if not whole:
        cut = max(sample.rfind("\n"), sample.rfind("\r"))
        sample = sample[: cut + 1] or sample
    dialect = _best_dialect(sample)
    records = [r for r in _records(io.StringIO(sample, newline=""), dialect) if not r.fault][:50]
    first = records[0].fields if records else []
    # Word lists and corpora are often .txt, and then the first line is data unless it names columns.
    named = path.suffix.lower() != ".txt" or any(map(is_known_name, first))
    if first and named and _is_header(first, records[1:]):
        return Layout(dialect, tuple(_names(first)), header=True)
    names = ["text"] if len(first) <= 1 else [f"column_{i + 1}" for i in range(len(first))]
    return Layout(dialect, tuple(names), header=False)


def read_rows(path: Path, encoding: str, layout: Layout) -> Iterator[Row | BrokenRow]:
    """Yield every record after the header."""
    csv.field_size_limit(MAX_ROW_CHARACTERS)
    waiting_for_header = layout.header
    with open_text(path, encoding) as stream:
        for record in _records(stream, layout.dialect):
            if record.fault:
                yield BrokenRow(record.line, record.fault)
            elif waiting_for_header:
                waiting_for_header = False
            elif len(record.fields) != len(layout.columns):
                yield BrokenRow(record.line, _wrong_count(record.fields, layout.columns))
            else:
                yield Row(record.line, dict(zip(layout.columns, record.fields, strict=True)))


class _Lines:
    """Physical lines with a memory of what the present record took, so that it can be given back."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._returned: deque[str] = deque()
        self.taken: list[str] = []
        self.size = 0
        self.line = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.size > MAX_ROW_CHARACTERS or len(self.taken) >= _MAX_LINES:
            raise csv.Error("too long")
        line = self._returned.popleft() if self._returned else self._stream.readline(2**24)
        if not line:
            raise StopIteration
        self.taken.append(line)
        self.size += len(line)
        self.line += 1
        return line

    def begin(self) -> None:
        """Forget what the last record took."""
        self.taken, self.size = [], 0

    def give_back(self) -> None:
        """Return everything but the first line of the present record."""
        self._returned.extendleft(reversed(self.taken[1:]))
        self.line -= len(self.taken) - 1


def _records(stream: TextIO, dialect: Dialect) -> Iterator[Record]:
    lines = _Lines(stream)
    reader = dialect.reader(lines)
    while True:
        lines.begin()
        start = lines.line + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            fault = _quote_fault(error, lines.taken)
            lines.give_back()
            reader = dialect.reader(lines)
            yield Record(start, [], fault)
            continue
        words = "".join(lines.taken)
        if "\0" in words:
            yield Record(start, [], NUL)
        elif has_stray_bytes(words):
            yield Record(start, [], STRAY)
        elif len(fields) > 1 or any(field.strip() for field in fields):
            yield Record(start, fields)


NUL = Text(
    en="The row holds a NUL byte, so the file was cut or is not text. Export it again.",
    zh="该行含有 NUL 字节，说明文件被截断或不是纯文本。请重新导出。",
)
STRAY = Text(
    en="The row holds bytes that are not in the file's encoding. Save the file as UTF-8.",
    zh="该行含有不符合文件编码的字节。请将文件另存为 UTF-8。",
)


def _quote_fault(error: csv.Error, taken: list[str]) -> Text:
    if "expected after" in str(error) and len(taken) <= 1:
        return Text(
            en="A quoted field goes on after its closing quote. Double the quotes inside a field.",
            zh="引号字段在闭合引号之后还有内容。请将字段内部的引号写成两个。",
        )
    return Text(
        en="A quote is opened and never closed. Close it, or double the quotes inside a field.",
        zh="引号打开后没有闭合。请补上闭合引号，或将字段内部的引号写成两个。",
    )


def _wrong_count(fields: list[str], columns: tuple[str, ...]) -> Text:
    return Text(
        en="The row has {found} fields, the header names {wanted}. Quote fields that hold the delimiter.",
        zh="该行有 {found} 个字段，而表头有 {wanted} 个。含有分隔符的字段请加引号。",
    ).format(found=len(fields), wanted=len(columns))


def _best_dialect(sample: str) -> Dialect:
    first = next((line for line in sample.splitlines() if line.strip()), "")
    candidates = [
        dialect
        for delimiter in _DELIMITERS
        if delimiter in first
        for dialect in _dialects(delimiter, sample, first)
    ]
    best, best_score = Dialect(_ALONE), (0.0, 0, 0)
    for rank, dialect in enumerate(candidates):
        share, width = _consistency(sample, dialect)
        score = (round(share, 2), width, -rank)
        if width > 1 and score > best_score:
            best, best_score = dialect, score
    return best


def _dialects(delimiter: str, sample: str, first: str) -> list[Dialect]:
    found = [Dialect(delimiter)]
    if '\\"' in sample:
        found.append(Dialect(delimiter, escape="\\"))
    if '"' in sample and _quotes_are_plain(delimiter, sample):
        found.append(Dialect(delimiter, quote=None))
    cells = first.strip().split(delimiter)
    if all(len(cell) > 1 and cell[0] == cell[-1] == "'" for cell in cells):
        found.insert(0, Dialect(delimiter, quote="'"))
    return found


def _quotes_are_plain(delimiter: str, sample: str) -> bool:
    """Return whether quotes are part of the text, as in many TSV files.

    One quote too many in a CSV file is a broken row; several, and not one field that is properly
    quoted, are a file written without quoting.
    """
    edge = re.escape(delimiter)
    if re.search(rf'(?:^|{edge})"[^"\r\n]*"(?={edge}|[\r\n]|\Z)', sample, re.MULTILINE):
        return False
    opened = re.findall(rf'(?:^|{edge})"', sample, re.MULTILINE)
    return delimiter == "\t" or len(opened) >= 3


def _consistency(sample: str, dialect: Dialect) -> tuple[float, int]:
    """Return the share of records as wide as the first, and that width."""
    csv.field_size_limit(MAX_ROW_CHARACTERS)
    width = good = seen = 0
    for record in _records(io.StringIO(sample, newline=""), dialect):
        seen += 1
        if not record.fault:
            width = width or len(record.fields)
            good += len(record.fields) == width
        if seen >= 500:
            break
    return (good / seen if seen else 0.0), width


def _is_header(first: list[str], rest: list[Record]) -> bool:
    """Return whether the first record names columns rather than being data.

    Names are short, distinct, not numbers and not sentences, and do not turn up again as values.
    """
    cells = [cell.strip() for cell in first]
    # pandas writes its row numbers under an empty name unless told not to.
    named = cells[1:] if len(cells) > 1 and not cells[0] else cells
    plausible = (
        all(named)
        and len(set(cells)) == len(cells)
        and all(len(cell) <= 40 and not _SENTENCE.search(cell) for cell in cells)
        and not any(re.fullmatch(r"[-+]?[\d.,]+%?", cell) for cell in cells)
    )
    repeated = any(
        record.fields[i : i + 1] == [first[i]] for record in rest for i in range(len(first))
    )
    return plausible and not repeated


def _names(first: list[str]) -> list[str]:
    names = [cell.strip().lstrip("\ufeff") for cell in first]
    return [name or f"unnamed_{i}" for i, name in enumerate(names)]
