"""Read a data file into samples, through the same reader and the same rules as the probe."""

from __future__ import annotations

import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.rows import BrokenRow, Row, open_rows
from tutor_agent.core.samples import Sample, detect, to_sample
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import DataChoice, Task

_ROWS_FOR_DETECTION = 200
_PROBLEMS_KEPT = 20
_NEED_ANSWERS = {"chat", "qa", "classification", "summarization"}


class SourceRow(NamedTuple):
    """A sample and the line of the file that it came from."""

    line: int
    sample: Sample

    @property
    def key(self) -> str:
        """Return a hash of the content in which white space and case do not count."""
        words = [f"{message.role}\x1f{message.content}" for message in self.sample.messages]
        words.append(self.sample.text or "")
        plain = "\x1e".join(" ".join(word.split()).casefold() for word in words)
        return hashlib.sha256(plain.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass
class Loaded:
    """The usable rows of one file, and what is wrong with the others."""

    rows: list[SourceRow] = field(default_factory=list)
    skipped: int = 0
    problems: list[Text] = field(default_factory=list)


def load_rows(path: Path, choice: DataChoice, task: Task) -> Loaded:
    """Read every usable row of `path`; a row that cannot be used is counted and named by its line.

    Raises:
        NotFoundError: No file there.
        UnreadableError: Nothing in the file can be used.
    """
    file = open_rows(path)
    head = [
        row.values for row in itertools.islice(file, _ROWS_FOR_DETECTION) if isinstance(row, Row)
    ]
    found = detect(list(file.columns), head)
    data_format = found.format if choice.format == "auto" else choice.format
    roles = choice.columns or found.roles
    loaded = Loaded()
    for row in file:
        if isinstance(row, BrokenRow):
            _skip(loaded, row.line, row.text)
            continue
        try:
            sample = to_sample(row.values, data_format, roles, task)
            if task in _NEED_ANSWERS and not sample.messages:
                raise _no_answer(task)
            loaded.rows.append(SourceRow(row.line, sample))
        except UnreadableError as error:
            _skip(loaded, row.line, error.text)
    if not loaded.rows:
        why = loaded.problems[0] if loaded.problems else Text(en="no rows", zh="没有数据行")
        raise UnreadableError(
            f"{path} has no usable row ({why.en}). Check its columns with `tutor inspect data {path.name}`.",
            f"{path} 没有可用的行（{why.zh}）。请用 `tutor inspect data {path.name}` 检查各列。",
        )
    return loaded


def _skip(loaded: Loaded, line: int, text: Text) -> None:
    loaded.skipped += 1
    if len(loaded.problems) < _PROBLEMS_KEPT:
        loaded.problems.append(
            Text(en=f"line {line} is left out: {text.en}", zh=f"第 {line} 行被略过：{text.zh}")
        )


def _no_answer(task: Task) -> UnreadableError:
    return UnreadableError(
        f"The row is plain text, and the task {task!r} needs an answer. Name the answer's column in data.columns, or "
        "choose the task 'pretraining'.",
        f"该行只是纯文本，而任务 {task!r} 需要回答。请在 data.columns 中指定回答所在的列，或把任务改为 'pretraining'。",
    )
