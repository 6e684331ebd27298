"""A data file's facts: columns, roles, lengths, duplicates, broken rows by line."""

from __future__ import annotations

import hashlib
import itertools
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.facts import DataFacts, Problem
from tutor_agent.core.rows import BrokenRow, Row, RowFile, open_rows
from tutor_agent.core.samples import Detected, detect, to_sample
from tutor_agent.core.text import Text
from tutor_agent.probe.tally import ColumnTally, RowTally

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import JsonValue

ESTIMATE = Text(
    en="Lengths are estimated: 0.75 tokens a Chinese character, one token for four other characters, 5 "
    "for each message. They are counted with the model's tokenizer when training starts.",
    zh="长度为估算值：每个汉字 0.75 个 token，其他字符每 4 个算 1 个 token，每条消息另加 5 个；"
    "训练开始时会用模型的分词器精确计算。",
)
"""How `Lengths` come about."""

_ROWS_FOR_DETECTION = 200
_LISTED = 20
_SAMPLES = 3
_CELL = 300
_FEW_ROWS = 50


def inspect_data(path: Path) -> DataFacts:
    """Read the whole file once and return what is known of it.

    Raises:
        NotFoundError: No file there.
        UnreadableError: It is empty, not a table, has no rows, or its columns cannot be told apart.
    """
    file = open_rows(path)
    head = [
        row.values for row in itertools.islice(file, _ROWS_FOR_DETECTION) if isinstance(row, Row)
    ]
    if not head:
        _require_rows(file)
    found = detect(list(file.columns), head)
    columns = {name: ColumnTally() for name in file.columns}
    rows, problems, left_out = RowTally(), list[Problem](), 0
    for row in file:
        trouble = row.text if isinstance(row, BrokenRow) else _tally(row, found, columns, rows)
        if trouble:
            left_out += 1
            if left_out <= _LISTED:
                problems.append(Problem(line=row.line, text=_left_out(trouble)))
    problems += _summary(rows, left_out, file)
    return DataFacts(
        path=str(path),
        container=file.container,
        format=found.format,
        task=found.task,
        rows=rows.rows,
        columns=tuple(tally.column(name) for name, tally in columns.items()),
        roles=found.roles,
        lengths=rows.summary(),
        duplicates=rows.duplicates,
        language=rows.language,
        encoding=file.encoding,
        samples=tuple(_shortened(values) for values in head[:_SAMPLES]),
        problems=tuple(problems),
        sha256=hash_file(path),
    )


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _tally(
    row: Row, found: Detected, columns: dict[str, ColumnTally], rows: RowTally
) -> Text | None:
    """Count `row`; return what keeps it from being used, if anything does."""
    for name in columns:
        columns[name].add(row.values.get(name))
    try:
        sample = to_sample(row.values, found.format, found.roles, found.task)
    except UnreadableError as error:
        return error.text
    rows.add(row.values, sample)
    return None


def _left_out(trouble: Text) -> Text:
    return Text(en=f"{trouble.en} The row is left out.", zh=f"{trouble.zh}该行将被略过。")


def _summary(rows: RowTally, left_out: int, file: RowFile) -> list[Problem]:
    """Return the problems of the file as a whole."""
    found = [
        _more(left_out),
        _unusable(rows, left_out),
        _repeated(rows),
        _few(rows),
        _mangled(rows),
        *_label_problems(rows),
        _nameless(file),
    ]
    return [problem for problem in found if problem]


def _whole(en: str, zh: str, *, fatal: bool = False) -> Problem:
    return Problem(line=None, text=Text(en=en, zh=zh), fatal=fatal)


def _more(left_out: int) -> Problem | None:
    if left_out <= _LISTED:
        return None
    return _whole(
        f"{left_out} rows are left out in all; the first {_LISTED} are listed.",
        f"共有 {left_out} 行被略过，这里列出前 {_LISTED} 行。",
    )


def _unusable(rows: RowTally, left_out: int) -> Problem | None:
    if rows.rows:
        return None
    return _whole(
        f"None of the {left_out} rows can be used. Mend them, or name the columns in the plan.",
        f"{left_out} 行数据全部无法使用。请修正数据，或在计划中指明各列。",
        fatal=True,
    )


def _repeated(rows: RowTally) -> Problem | None:
    if not rows.duplicates:
        return None
    share = rows.duplicates / rows.rows
    return _whole(
        f"Rows that repeat an earlier row exactly: {rows.duplicates} ({share:.0%}). In a random split they would be "
        "both learnt and tested; equal rows are kept on one side.",
        f"有 {rows.duplicates} 行（{share:.0%}）与前面的行完全相同。随机划分会让它们同时出现在训练集和测试集；"
        "导师会把相同的行放在同一侧。",
    )


def _few(rows: RowTally) -> Problem | None:
    distinct = rows.rows - rows.duplicates
    if not 0 < distinct < _FEW_ROWS:
        return None
    return _whole(
        f"Only {distinct} different rows: the model will learn them by heart. A few hundred are a sensible start.",
        f"只有 {distinct} 行不同的数据，模型会死记硬背。建议至少准备几百行。",
    )


def _mangled(rows: RowTally) -> Problem | None:
    if not rows.mangled:
        return None
    return _whole(
        f"Rows with the character �: {rows.mangled}. They were decoded wrongly before; export them again.",
        f"有 {rows.mangled} 行包含字符 �，说明之前解码有误。请重新导出。",
    )


def _label_problems(rows: RowTally) -> list[Problem]:
    if not rows.labels:
        return []
    found: list[Problem] = []
    (most, many), (least, few) = rows.labels.most_common()[0], rows.labels.most_common()[-1]
    if most == least:
        found.append(
            _whole(
                f"All rows have the label {most!r}: there is nothing to tell apart. Add rows of other classes.",
                f"所有行的标签都是 {most!r}，没有可区分的内容。请补充其他类别的数据。",
                fatal=True,
            )
        )
    elif few * 10 < many:
        found.append(
            _whole(
                f"The classes are uneven: {many} rows of {most!r}, {few} of {least!r}. Look at F1 rather than "
                "accuracy.",
                f"类别不均衡：{most!r} 有 {many} 行，{least!r} 只有 {few} 行。请看 F1，而不是准确率。",
            )
        )
    if rows.conflicts:
        found.append(
            _whole(
                f"Rows that give an earlier text another label: {rows.conflicts}. Decide for one label.",
                f"有 {rows.conflicts} 行的文本在前面出现过，但标签不同。请统一标签。",
            )
        )
    return found


def _nameless(file: RowFile) -> Problem | None:
    if file.layout is None or file.layout.header:
        return None
    return _whole(
        f"The file has no header line; the columns are called {', '.join(file.columns)}.",
        f"文件没有表头；各列命名为 {'、'.join(file.columns)}。",
    )


def _require_rows(file: RowFile) -> None:
    broken = next((row for row in file if isinstance(row, BrokenRow)), None)
    if broken:
        raise UnreadableError(
            f"{file.path} has no readable row. The first trouble is in line {broken.line}: {broken.text.en}",
            f"{file.path} 没有可读的行。第一个问题在第 {broken.line} 行：{broken.text.zh}",
        )
    raise UnreadableError(
        f"{file.path} names columns and has no rows below. Add rows.",
        f"{file.path} 只有表头，没有数据行。请添加数据。",
    )


def _shortened(value: dict[str, Any]) -> dict[str, JsonValue]:
    return {str(key): _short(inner) for key, inner in value.items()}


def _short(value: Any) -> JsonValue:
    if isinstance(value, str):
        return value if len(value) <= _CELL else value[:_CELL] + "…"
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_short(item) for item in cast("list[Any]", value)[:6]]
    if isinstance(value, dict):
        return _shortened(cast("dict[str, Any]", value))
    return _short(str(value))
