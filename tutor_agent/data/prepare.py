"""From the data choice of a plan to everything that training reads."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.data.audit import LabelAudit, audit_labels
from tutor_agent.data.classes import ClassEncoder, check_head, class_of, classes_of
from tutor_agent.data.labels import Encoder, Example
from tutor_agent.data.load import Loaded, load_rows
from tutor_agent.data.row_audit import RowAudit, audit_rows
from tutor_agent.data.split import Split, shuffled, split_rows, without
from tutor_agent.data.template import end_tokens, ensure_template

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.core.plan import Plan
    from tutor_agent.data.classes import Head
    from tutor_agent.data.load import SourceRow

_NAMED = 10


@dataclass(frozen=True)
class Prepared:
    """The examples of a plan, its held-out rows, and what the labels teach."""

    train: list[Example]
    validation: list[Example]
    test: list[Example]
    test_rows: list[SourceRow]
    encoder: Encoder
    audit: LabelAudit
    sha256: str
    rows: RowAudit

    @property
    def head(self) -> Head | None:
        """Return what a classification head is made from; None for a model that writes."""
        return self.encoder.head if isinstance(self.encoder, ClassEncoder) else None


def prepare(plan: Plan, tokenizer: PreTrainedTokenizerBase) -> Prepared:
    """Read, split and encode the data of `plan`; the tokenizer gets a chat template if it has none.

    With a classification head the texts go in as they are, and their classes are read from all rows.

    Raises:
        NotFoundError: A data file is not there.
        UnreadableError: A data file has no usable row.
        NotPossibleError: There are too few different rows for the sides, the answers cannot end, or the
            classes cannot be told apart.
    """
    check_head(plan)
    chosen = ensure_template(tokenizer)
    split, problems, shared = _read(plan)
    encoder = _encoder(plan, tokenizer, split)
    if chosen and not isinstance(encoder, ClassEncoder):
        problems.append(
            Text(
                en=f"The tokenizer has no chat template; the {chosen} one was added and is saved with the result.",
                zh=f"分词器没有对话模板；已补上 {chosen} 模板，并随结果一起保存。",
            )
        )
    if plan.task == "classification":
        problems += _class_problems(split)
    most = plan.evaluation.max_rows
    train = _encoded(encoder, split.train)
    return Prepared(
        train=train,
        validation=_encoded(encoder, split.validation[:most]),
        test=_encoded(encoder, split.test[:most]),
        test_rows=split.test[:most],
        encoder=encoder,
        audit=audit_labels(train, problems),
        sha256=_hash(Path(plan.data.train)),
        rows=audit_rows(split.train, shared, tokenizer),
    )


def _encoder(plan: Plan, tokenizer: PreTrainedTokenizerBase, split: Split) -> Encoder:
    length, supervise = plan.data.max_length, plan.data.supervise
    if plan.model.head == "classifier":
        classes = classes_of([*split.train, *split.validation, *split.test])
        return ClassEncoder(tokenizer, length, supervise, end_tokens(tokenizer), classes)
    return Encoder.for_tokenizer(tokenizer, length, supervise)


def _class_problems(split: Split) -> list[Text]:
    """Return what is wrong with the classes: one that is never learnt, or nothing but one."""
    learnt = {class_of(row.sample) for row in split.train}
    held_out = {class_of(row.sample) for row in (*split.validation, *split.test)}
    problems: list[Text] = []
    if len(learnt) == 1:
        (only,) = learnt
        problems.append(
            Text(
                en=f"All training rows have the class {only!r}: nothing can be told apart.",
                zh=f"所有训练数据的类别都是 {only!r}：没有可区分的内容。",
            )
        )
    if unknown := sorted(held_out - learnt):
        names = ", ".join(unknown[:_NAMED])
        problems.append(
            Text(
                en=f"{len(unknown)} classes of the held-out rows never occur in training and cannot be learnt: {names}.",
                zh=f"留出数据中有 {len(unknown)} 个类别在训练数据里从未出现，学不到：{names}。",
            )
        )
    return problems


def _read(plan: Plan) -> tuple[Split, list[Text], int]:
    choice, seed = plan.data, plan.optim.seed
    loaded = _loaded(plan, choice.train)
    problems = list(loaded.problems)
    if loaded.skipped > len(problems):
        more = loaded.skipped - len(problems)
        problems.append(Text(en=f"{more} more lines are left out.", zh=f"另有 {more} 行被略过。"))
    validation = _loaded(plan, choice.validation).rows if choice.validation else []
    test = _loaded(plan, choice.test).rows if choice.test else []
    rows = without(loaded.rows, [*validation, *test])
    if shared := len(loaded.rows) - len(rows):
        problems.append(
            Text(
                en=f"{shared} training rows also occur in the validation or test file; they are not trained on.",
                zh=f"{shared} 行训练数据同时出现在验证或测试文件中，不参与训练。",
            )
        )
    if not rows:
        raise NotPossibleError(
            f"Every row of {choice.train} also occurs in the validation or test file. Name different files.",
            f"{choice.train} 的每一行都出现在验证或测试文件中。请指定不同的文件。",
        )
    if choice.limit:
        rows = shuffled(rows, seed)[: choice.limit]
    split = split_rows(
        rows,
        validation=0 if validation else choice.holdout,
        test=0 if test else choice.holdout,
        seed=seed,
    )
    sides = Split(
        split.train,
        shuffled(validation, seed) or split.validation,
        shuffled(test, seed) or split.test,
    )
    return sides, problems, shared


def _loaded(plan: Plan, path: str) -> Loaded:
    return load_rows(Path(path), plan.data, plan.task)


def _encoded(encoder: Encoder, rows: Sequence[SourceRow]) -> list[Example]:
    return [example for row in rows for example in encoder.encode_row(row)]


def _hash(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
