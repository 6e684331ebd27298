"""The one reader of data files: CSV and TSV, JSON lines, a JSON array, Parquet.

What a file is follows from its content, not from its name. Rows come one at a time, broken ones with
their line, so that a file of any size fits.
"""

from __future__ import annotations

import importlib
import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutor_agent.core.delimited import Layout, read_layout, read_rows
from tutor_agent.core.encodings import detect_encoding, open_text
from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.json_rows import is_object, is_wrapped, read_json_lines, read_json_values
from tutor_agent.core.row_types import BrokenRow, Container, Row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["BrokenRow", "Container", "Row", "RowFile", "open_rows"]

_ROWS_FOR_COLUMNS = 100
_DATA_SUFFIXES = {".csv", ".tsv", ".jsonl", ".json", ".parquet", ".txt"}


@dataclass(frozen=True)
class RowFile:
    """An opened data file. Iterating reads it from the beginning, as often as wanted."""

    path: Path
    container: Container
    encoding: str
    columns: tuple[str, ...]
    layout: Layout | None = None

    def __iter__(self) -> Iterator[Row | BrokenRow]:
        """Yield every row, readable or broken, in the order of the file."""
        if self.container == "parquet":
            return _parquet_rows(self.path)
        if self.container == "jsonl":
            return read_json_lines(self.path, self.encoding)
        if self.container == "json":
            return read_json_values(self.path, self.encoding)
        return read_rows(self.path, self.encoding, self.layout or read_layout(self.path, "utf-8"))


def open_rows(path: Path) -> RowFile:
    """Find out what kind of file `path` is.

    Raises:
        NotFoundError: No file there.
        UnreadableError: A folder, an empty file, or not a table at all.
    """
    _require_file(path)
    with path.open("rb") as stream:
        magic = stream.read(4)
    if magic == b"PAR1":
        return RowFile(path, "parquet", "binary", _parquet_columns(path))
    encoding = detect_encoding(path)
    container = _text_container(path, encoding)
    if container == "csv":
        layout = read_layout(path, encoding)
        return RowFile(path, container, encoding, layout.columns, layout)
    bare = RowFile(path, container, encoding, ())
    names: dict[str, None] = {}
    for row in itertools.islice(bare, _ROWS_FOR_COLUMNS):
        if isinstance(row, Row):
            names |= dict.fromkeys(row.values)
    return RowFile(path, container, encoding, tuple(names))


def _require_file(path: Path) -> None:
    if path.is_dir():
        inside = sorted(p.name for p in path.iterdir() if p.suffix.lower() in _DATA_SUFFIXES)[:5]
        raise UnreadableError(
            f"{path} is a folder. Name one file: {', '.join(inside) or 'CSV, JSONL or Parquet'}.",
            f"{path} 是文件夹。请指定一个文件：{'、'.join(inside) or 'CSV、JSONL 或 Parquet'}。",
        )
    if not path.is_file():
        raise NotFoundError(
            f"No data file at {str(path)!r}. Check the path; CSV, JSONL, JSON and Parquet are read.",
            f"{str(path)!r} 处没有数据文件。请检查路径；支持 CSV、JSONL、JSON 和 Parquet。",
        )
    with path.open("rb") as stream:
        if not stream.read(2**20).strip(b"\xef\xbb\xbf \t\r\n"):
            raise UnreadableError(
                f"{path} is empty. Put rows into it: CSV with a header, or one JSON object a line.",
                f"{path} 是空文件。请放入数据：带表头的 CSV，或每行一个 JSON 对象。",
            )


def _text_container(path: Path, encoding: str) -> Container:
    with open_text(path, encoding) as stream:
        lines = [stream.readline(2**22) for _ in range(20)]
    first = next((line.strip() for line in lines if line.strip()), "").lstrip("\ufeff")
    if first.startswith("["):
        return "json"
    if not first.startswith("{"):
        return "csv"
    by_line = any(is_object(line) for line in lines if line.lstrip().startswith("{"))
    suffix = path.suffix.lower()
    if is_wrapped(first) and not any(line.strip() for line in lines[1:]):
        return "json"
    if is_object(first) or suffix in {".jsonl", ".ndjson"}:
        return "jsonl"
    # A broken first row among good ones is still JSON lines; a lone brace begins a spread-out object.
    return "jsonl" if by_line and len(first) > 2 and suffix != ".json" else "json"


def _parquet_file(path: Path) -> Any:
    # Loaded only when needed: pyarrow costs 100 ms and most files are text.
    parquet: Any = importlib.import_module("pyarrow.parquet")
    try:
        return parquet.ParquetFile(path)
    except (ValueError, OSError) as error:
        raise _unreadable_parquet(path, error) from None


def _unreadable_parquet(path: Path, error: Exception) -> UnreadableError:
    return UnreadableError(
        f"{path} begins like Parquet and cannot be read: {error}. Write it again; it may be cut.",
        f"{path} 开头像 Parquet，但无法读取：{error}。文件可能被截断，请重新生成。",
    )


def _parquet_columns(path: Path) -> tuple[str, ...]:
    with _parquet_file(path) as file:
        return tuple(file.schema_arrow.names)


def _parquet_rows(path: Path) -> Iterator[Row | BrokenRow]:
    number = 0
    with _parquet_file(path) as file:
        batches = file.iter_batches(batch_size=256)
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (ValueError, OSError) as error:
                raise _unreadable_parquet(path, error) from None
            for values in batch.to_pylist():
                number += 1
                yield Row(number, values)
