"""JSON lines and JSON arrays, read piece by piece."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, TextIO, cast

from tutor_agent.core.delimited import NUL, STRAY
from tutor_agent.core.encodings import has_stray_bytes, open_text
from tutor_agent.core.row_types import MAX_ROW_CHARACTERS, BrokenRow, Row
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CHUNK = 64 * 1024
_SPACE = re.compile(r"[\s,]*")
_WRAPPED = re.compile(r'\s*\{\s*"(?P<key>(?:[^"\\]|\\.)*)"\s*:\s*\[\s*(?=\{)')
_CHATS = {"messages", "conversations", "conversation", "dialog", "dialogue", "chat", "input"}
_TOO_LONG = Text(
    en="The row is longer than 16 MiB. Split it, or check whether the file is cut.",
    zh="该行超过 16 MiB。请拆分该行，或检查文件是否被截断。",
)


def read_json_lines(path: Path, encoding: str) -> Iterator[Row | BrokenRow]:
    """Yield one row for every line that is not blank."""
    number = 0
    with open_text(path, encoding) as stream:
        while line := stream.readline(MAX_ROW_CHARACTERS):
            number += 1
            if len(line) >= MAX_ROW_CHARACTERS and not line.endswith("\n"):
                _skip_line(stream)
                yield BrokenRow(number, _TOO_LONG)
            elif line.strip():
                yield _parse_line(line, number)


def read_json_values(path: Path, encoding: str) -> Iterator[Row | BrokenRow]:
    """Yield the objects of an array, of a list inside one object, or of values in a row.

    After a syntax error the rest of the file cannot be told apart, so reading ends there.
    """
    with open_text(path, encoding) as stream:
        yield from _Values(stream).rows()


def is_object(line: str) -> bool:
    """Return whether `line` alone is a JSON object."""
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def is_wrapped(words: str) -> bool:
    """Return whether `words` begins with an object whose list holds the rows: `{"data": [{`."""
    match = _WRAPPED.match(words)
    return match is not None and match["key"].lower() not in _CHATS


def _skip_line(stream: TextIO) -> None:
    while (rest := stream.readline(MAX_ROW_CHARACTERS)) and not rest.endswith("\n"):
        pass


def _parse_line(line: str, number: int) -> Row | BrokenRow:
    if "\0" in line:
        return BrokenRow(number, NUL)
    if has_stray_bytes(line):
        return BrokenRow(number, STRAY)
    try:
        value = json.loads(line)
    except json.JSONDecodeError as error:
        return BrokenRow(number, _invalid(error.msg, error.colno))
    return _row(value, number)


def _row(value: Any, line: int) -> Row | BrokenRow:
    if isinstance(value, dict):
        return Row(line, cast("dict[str, Any]", value))
    kind = type(value).__name__
    return BrokenRow(
        line,
        Text(
            en=f"The row is a {kind}, not an object. Write one JSON object with named fields a row.",
            zh=f"该行是 {kind}，不是对象。请每行写一个带字段名的 JSON 对象。",
        ),
    )


def _invalid(message: str, column: int) -> Text:
    return Text(
        en=f"Invalid JSON at column {column}: {message}. Mend or remove the row.",
        zh=f"第 {column} 列的 JSON 有误：{message}。请修正或删除该行。",
    )


class _Values:
    """A reader of consecutive JSON values that holds one value at a time."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._decoder = json.JSONDecoder()
        self._buffer = ""
        self._at = 0
        self._line = 1
        self._ended = False

    def rows(self) -> Iterator[Row | BrokenRow]:
        self._grow()
        bracket = self._enter()
        while True:
            self._skip()
            if self._at >= len(self._buffer) or (bracket and self._buffer[self._at] == "]"):
                if bracket and self._at >= len(self._buffer):
                    yield BrokenRow(self._line, _cut())
                return
            line = self._line
            try:
                value, end = self._decode()
            except json.JSONDecodeError as error:
                yield BrokenRow(line, self._fault(error))
                return
            words = self._buffer[self._at : end]
            self._advance(end)
            yield BrokenRow(line, STRAY) if has_stray_bytes(words) else _row(value, line)

    def _enter(self) -> bool:
        """Step into the array; return whether there is one."""
        words = self._buffer.lstrip("\ufeff \t\r\n")
        self._advance(len(self._buffer) - len(words))
        wrapped = _WRAPPED.match(self._buffer, self._at)
        if wrapped and is_wrapped(wrapped.group() + "{"):
            self._advance(wrapped.end())
            return True
        if self._buffer.startswith("[", self._at):
            self._advance(self._at + 1)
            return True
        return False

    def _skip(self) -> None:
        while True:
            match = _SPACE.match(self._buffer, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._buffer) or not self._grow():
                return

    def _advance(self, to: int) -> None:
        self._line += self._buffer.count("\n", self._at, to)
        self._at = to

    def _grow(self) -> bool:
        if self._ended or len(self._buffer) - self._at > MAX_ROW_CHARACTERS:
            return False
        self._buffer = self._buffer[self._at :]
        self._at = 0
        # Doubling keeps the repeated parsing of one long value linear in its length.
        piece = self._stream.read(max(_CHUNK, len(self._buffer)))
        self._ended = not piece
        self._buffer += piece
        return bool(piece)

    def _decode(self) -> tuple[Any, int]:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._buffer, self._at)
            except json.JSONDecodeError as error:
                incomplete = error.msg.startswith("Unterminated") or (
                    error.pos >= len(self._buffer) - 16
                )
                if not incomplete or not self._grow():
                    raise
            else:
                if end < len(self._buffer) or not self._grow():
                    return value, end

    def _fault(self, error: json.JSONDecodeError) -> Text:
        if "\0" in self._buffer[self._at : error.pos + 1]:
            return NUL
        if len(self._buffer) - self._at > MAX_ROW_CHARACTERS:
            return _TOO_LONG
        line = self._line + self._buffer.count("\n", self._at, error.pos)
        column = error.pos - self._buffer.rfind("\n", 0, error.pos)
        return Text(
            en=f"Invalid JSON in line {line}, column {column}: {error.msg}. The file cannot be read "
            "beyond this row; mend it there.",
            zh=f"第 {line} 行第 {column} 列的 JSON 有误：{error.msg}。此行之后的内容无法读取，请在此处修正。",
        )


def _cut() -> Text:
    return Text(
        en="The file ends before the array is closed by `]`, so it was cut. Export it again.",
        zh="文件在数组以 `]` 闭合之前就结束了，说明被截断。请重新导出。",
    )
