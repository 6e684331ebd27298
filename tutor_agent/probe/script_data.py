"""Data sets and data frames in a script: which files they come from, and what was done to them."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

from tutor_agent.probe.script_values import Given, Made, Rows, Unknown, is_plain

_BUILDERS = frozenset({"csv", "json", "parquet", "text", "pandas", "arrow"})
_READERS = frozenset({"read_csv", "read_json", "read_parquet", "read_table", "read_excel"})
_CLASS_READERS = frozenset({"from_csv", "from_json", "from_parquet"})
_WRITERS = frozenset({"to_csv", "to_json", "to_parquet"})
_CLEANERS = {"drop_duplicates": "duplicates", "dropna": "missing"}
_KEEPS = frozenset(
    {
        "map", "filter", "shuffle", "select", "remove_columns", "rename_column", "rename_columns", "with_format",
        "cast_column", "select_columns", "reset_index", "sample", "astype", "copy", "fillna", "head", "sort",
        "sort_values", "set_index", "apply", "flatten_indices", "take", "class_encode_column", "cast",
        *_CLEANERS,
    }
)  # fmt: skip


def rows_of(call: Made) -> object | None:
    """Return the data that a call reads or hands on; None when it is about something else."""
    if isinstance(call.owner, Rows):
        return _method(call, call.owner)
    last = call.last
    if last == "load_dataset":
        return _load_dataset(call)
    if last in _READERS or (last in _CLASS_READERS and "Dataset" in call.name):
        path = call.get("path_or_paths") or call.get("filepath_or_buffer", 0)
        return _read(call, path) if path is not None else None
    if last in {"from_pandas", "DataFrame", "Dataset"} and call.args:
        handed = call.args[0].value
        return handed if isinstance(handed, Rows) else None
    first = call.args[0].value if call.args else None
    if last == "DatasetDict" and isinstance(first, dict):
        return _joined(cast("dict[object, object]", first), call.line)
    if last == "train_test_split" and isinstance(first, Rows):
        return _halves(call, first)
    return None


def is_writer(call: Made) -> bool:
    """Return whether a call writes a data frame to a file."""
    return call.last in _WRITERS and isinstance(call.owner, Rows)


def subscript(rows: Rows, key: object) -> object:
    """Return what `rows[key]` is: a split, or the same rows narrowed."""
    if isinstance(key, str) and (key in rows.files or key in {"train", "test", "validation"}):
        part = rows.part(key)
        if rows.held is not None and key in {"train", "test"}:
            share = rows.held if key == "test" else 1 - rows.held
            return replace(part, split="train", share=share * (rows.share or 1.0))
        return part
    return rows


def _method(call: Made, rows: Rows) -> object:
    if call.last == "train_test_split":
        size = _share(call.get("test_size", 0)) or _rest(call.get("train_size")) or 0.25
        return replace(rows, held=size, split=None)
    if call.last in _CLEANERS:
        return replace(rows, cleaned=rows.cleaned | {_CLEANERS[call.last]})
    if call.last in _KEEPS:
        return rows
    return Unknown(f".{call.last}(…)", call.line)


def _load_dataset(call: Made) -> Rows:
    name = call.get("path", 0)
    files = call.get("data_files")
    split = call.get("split")
    made: Rows
    if files is not None:
        made = _files(files, call.line)
    elif name is not None and isinstance(name.value, str) and name.value not in _BUILDERS:
        made = Rows({}, call.line, hub=name.value)
    else:
        made = Rows({}, call.line, unread=_unread(name or call.get("data_dir"), call.line))
    if split is None:
        return made
    if not isinstance(split.value, str):
        return replace(made, unread=(*made.unread, *_unread(split, call.line)))
    return made.part(split.value.split("[")[0].strip())


def _files(given: Given, line: int) -> Rows:
    value = given.value
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        found = {str(key): _paths(each) for key, each in table.items()}
        known = {key: paths for key, paths in found.items() if paths is not None}
        missing = [value for key, value in table.items() if found[str(key)] is None]
        return Rows(known, line, unread=tuple(_hole(each, given.line) for each in missing))
    paths = _paths(value)
    if paths is None:
        return Rows({}, line, unread=(_hole(value, given.line),))
    return Rows({"train": paths}, line)


def _paths(value: object) -> tuple[str, ...] | None:
    if isinstance(value, str):
        return (value,) if value.strip() else None
    if isinstance(value, list | tuple):
        items = cast("list[object]", value)
        if items and all(isinstance(each, str) for each in items):
            return tuple(str(each) for each in items)
    return None


def _read(call: Made, path: Given) -> Rows:
    paths = _paths(path.value)
    if paths is None:
        return Rows({}, call.line, unread=(_hole(path.value, path.line),))
    return Rows({"train": paths}, call.line)


def _hole(value: object, line: int) -> Unknown:
    return value if isinstance(value, Unknown) else Unknown("data_files", line)


def _unread(given: Given | None, line: int) -> tuple[Unknown, ...]:
    return (_hole(given.value, given.line) if given else Unknown("load_dataset(…)", line),)


def _joined(parts: dict[object, object], line: int) -> Rows:
    files: dict[str, tuple[str, ...]] = {}
    for key, part in parts.items():
        if isinstance(part, Rows) and part.paths:
            files[str(key)] = part.paths
    return Rows(files, line)


def _halves(call: Made, rows: Rows) -> tuple[Rows, Rows]:
    """Return the two parts of scikit-learn's split, with their shares of all rows."""
    size = _share(call.get("test_size")) or _rest(call.get("train_size")) or 0.25
    whole = rows.share or 1.0
    return replace(rows, share=whole * (1 - size)), replace(rows, share=whole * size)


def _share(given: Given | None) -> float | None:
    if given is None or not is_plain(given.value) or isinstance(given.value, bool):
        return None
    value = given.value
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else None


def _rest(given: Given | None) -> float | None:
    share = _share(given)
    return 1 - share if share is not None else None
