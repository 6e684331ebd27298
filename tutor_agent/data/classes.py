"""Texts and their classes for a model with a classification head."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.data.labels import IGNORED, Encoder, Example, Marked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tutor_agent.core.plan import Plan
    from tutor_agent.core.samples import Message, Sample
    from tutor_agent.data.load import SourceRow

_MANY = 20


class Head(NamedTuple):
    """What a classification head has to know."""

    classes: tuple[str, ...]
    """Names of the classes, in the order of the scores."""
    pad: int
    """The padding token: the score is read off at the last token that is not padding."""


@dataclass(frozen=True)
class ClassEncoder(Encoder):
    """Turns samples into texts whose last token carries the number of the class.

    The text goes in as it is, without a chat template: so do the pipelines that will serve the model.
    """

    classes: tuple[str, ...] = ()

    @property
    def head(self) -> Head:
        """Return what the model is loaded with."""
        pad: Any = self.tokenizer.pad_token_id
        return Head(self.classes, self.ends[-1] if pad is None else int(pad))

    def encode_row(self, row: SourceRow) -> list[Example]:
        """Return the one example of a row; a text that is too long loses its context's end."""
        ids, _, shorter = self._fitted(row.sample, self._read, self.max_length)
        kept = ids[: self.max_length]
        if len(kept) < 2:
            # The first place of an example never carries a label.
            kept = [self.ends[-1], *kept] if kept else [self.ends[-1]] * 2
        number = self.classes.index(class_of(row.sample))
        labels = [IGNORED] * (len(kept) - 1) + [number]
        cut = shorter or len(kept) < len(ids)
        return [Example(array("l", kept), array("l", labels), row.line, truncated=cut)]

    def _read(self, messages: Sequence[Message]) -> Marked:
        words = "\n\n".join(message.content for message in messages[:-1])
        ids = list(self.tokenizer(words)["input_ids"])
        return Marked(ids, [False] * len(ids))


def class_of(sample: Sample) -> str:
    """Return the class of a sample: its label, or its answer where the data calls it so."""
    return (sample.answer if sample.label is None else sample.label).strip()


def classes_of(rows: Iterable[SourceRow]) -> tuple[str, ...]:
    """Return the classes of all rows, numbers by size and others by name.

    Raises:
        NotPossibleError: There is only one class, or nearly as many as rows.
    """
    counted = [class_of(row.sample) for row in rows]
    names = set(counted)
    if len(names) < 2:
        raise NotPossibleError(
            f"All {len(counted)} rows have the class {', '.join(map(repr, names))}: there is nothing to tell apart. Name "
            "the column of the classes in data.columns: {text: …, label: …}.",
            f"全部 {len(counted)} 行的类别都是 {'、'.join(map(repr, names))}，没有可区分的内容。"
            "请在 data.columns 中指定类别列：{text: …, label: …}。",
        )
    if len(names) > max(_MANY, len(counted) // 2):
        raise NotPossibleError(
            f"{len(counted)} rows have {len(names)} different labels, such as {min(names, key=len)!r}: these are answers, "
            "not classes. Set model.head to 'language_model', or name another column as data.columns.label.",
            f"{len(counted)} 行数据有 {len(names)} 种不同的标签，例如 {min(names, key=len)!r}：这更像回答而不是类别。"
            "请把 model.head 设为 'language_model'，或在 data.columns.label 中指定其他列。",
        )
    whole = all(name.lstrip("-").isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name), name) if whole else (0, name)))


def check_head(plan: Plan) -> None:
    """Check that a plan with a classification head asks for classification.

    Raises:
        NotPossibleError: The task is another one.
    """
    if plan.model.head == "classifier" and plan.task != "classification":
        raise NotPossibleError(
            f"model.head = 'classifier' gives one score a class and cannot write, but the task is {plan.task!r}. Set task "
            "to 'classification', or model.head to 'language_model'.",
            f"model.head = 'classifier' 只给每个类别打分，不能生成文字，而任务是 {plan.task!r}。"
            "请把 task 设为 'classification'，或把 model.head 设为 'language_model'。",
        )
