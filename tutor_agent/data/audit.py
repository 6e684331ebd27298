"""What the labels really teach: counted before training, since no live rule is worth as much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import HaltedError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.data.labels import Example

_MUCH_TRUNCATED = 0.2


class LabelAudit(Contract):
    """Counts over the training examples."""

    rows: int
    """Examples."""
    total_tokens: int
    """Tokens read in one pass."""
    supervised_tokens: int
    """Tokens that carry loss."""
    masked_rows: int
    """Examples in which no token carries loss."""
    eos_supervised: float
    """Share of the examples whose end token carries loss."""
    truncated: int
    """Examples whose prompt was cut to `max_length`."""
    problems: tuple[Text, ...] = ()
    """What a person should know."""

    @property
    def supervised_share(self) -> float:
        """Return the share of tokens that carry loss."""
        return self.supervised_tokens / max(self.total_tokens, 1)


def audit_labels(examples: Sequence[Example], problems: Sequence[Text] = ()) -> LabelAudit:
    """Count what the labels of `examples` teach."""
    supervised = [example.supervised for example in examples]
    masked = supervised.count(0)
    truncated = sum(example.truncated for example in examples)
    ended = sum(example.ended for example in examples)
    found = list(problems)
    count = len(examples)
    if masked:
        found.append(
            Text(
                en=f"{masked} of {count} samples carry no loss at all: nothing is learnt from them.",
                zh=f"{count} 个样本中有 {masked} 个完全不带损失：学不到任何东西。",
            )
        )
    if truncated > _MUCH_TRUNCATED * count:
        found.append(
            Text(
                en=f"{truncated} of {count} prompts were cut to max_length; raise it to keep them whole.",
                zh=f"{count} 个样本中有 {truncated} 个的提示词被截断到 max_length；调大它可保留完整内容。",
            )
        )
    return LabelAudit(
        rows=count,
        total_tokens=sum(len(example.ids) for example in examples),
        supervised_tokens=sum(supervised),
        masked_rows=masked,
        eos_supervised=ended / max(count, 1),
        truncated=truncated,
        problems=tuple(found),
    )


def refuse_unlearnable(audit: LabelAudit) -> None:
    """Refuse to train when no token carries loss.

    Raises:
        HaltedError: Every label is masked; the loss would be 0 from the first step and look like success.
    """
    if audit.supervised_tokens:
        return
    raise HaltedError(
        f"None of the {audit.total_tokens} tokens in {audit.rows} samples carries loss, so nothing can be learnt. "
        "Check that every row has an answer, and data.supervise and data.columns in the plan.",
        f"{audit.rows} 个样本的 {audit.total_tokens} 个词元中没有一个带有损失，无法学习。"
        "请检查每行是否都有回答，以及计划中的 data.supervise 和 data.columns。",
        cause="all_labels_masked",
    )
