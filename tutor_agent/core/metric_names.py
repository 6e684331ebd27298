"""The metrics of `evaluation.metrics`: what they are called, which way is better, what they need.

Shared by the adviser, the report and the training process, which alone computes them. Names are those of
the `evaluation` events. Without an answer in full there are three figures: the loss, its exponential and the
share of tokens foreseen; all others come from answers that the model writes to held-out prompts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.plan import Task

Better = Literal["higher", "lower"]


class Metric(NamedTuple):
    """One figure on held-out rows."""

    title: Text
    """What a person calls it."""
    better: Better
    """Which way is better."""
    answers: bool
    """Whether it reads answers that the model has written, which costs time."""
    scale: float = 1.0
    """The best value; 100 for BLEU and chrF, as their reference implementation gives them."""


METRICS: dict[str, Metric] = {
    "perplexity": Metric(Text(en="perplexity", zh="困惑度"), "lower", answers=False),
    "token_accuracy": Metric(
        Text(en="share of tokens foreseen", zh="词元命中率"), "higher", answers=False
    ),
    "exact_match": Metric(Text(en="exact match", zh="完全匹配"), "higher", answers=True),
    "accuracy": Metric(Text(en="accuracy", zh="准确率"), "higher", answers=True),
    "precision": Metric(Text(en="precision", zh="精确率"), "higher", answers=True),
    "recall": Metric(Text(en="recall", zh="召回率"), "higher", answers=True),
    "f1": Metric(Text.same("F1"), "higher", answers=True),
    "bleu": Metric(Text.same("BLEU"), "higher", answers=True, scale=100.0),
    "chrf": Metric(Text.same("chrF"), "higher", answers=True, scale=100.0),
    "rouge1": Metric(Text.same("ROUGE-1"), "higher", answers=True),
    "rouge2": Metric(Text.same("ROUGE-2"), "higher", answers=True),
    "rougeL": Metric(Text.same("ROUGE-L"), "higher", answers=True),
}
"""Every name that `evaluation.metrics` may hold.

Precision, recall and F1 are means over the classes (macro); for questions they are means over the answers
of the overlap of words, as SQuAD counts it. ROUGE is the F-measure.
"""

TASK_METRICS: dict[Task, tuple[str, ...]] = {
    "chat": ("perplexity", "token_accuracy", "bleu", "chrf", "rougeL"),
    "completion": ("perplexity", "token_accuracy", "bleu", "chrf", "rougeL"),
    "pretraining": ("perplexity", "token_accuracy"),
    "classification": ("accuracy", "f1", "precision", "recall"),
    "qa": ("exact_match", "f1", "perplexity"),
    "summarization": ("rougeL", "rouge1", "rouge2", "perplexity"),
}
"""What each task is judged by, its own measure first."""

UNCHANGED = ("perplexity",)
"""What `evaluation.metrics` holds when nobody has chosen: the task's own then apply."""


def metrics_of(task: Task, named: tuple[str, ...]) -> tuple[str, ...]:
    """Return what a run of `task` is judged by: what its plan names, else the task's own."""
    return TASK_METRICS[task] if tuple(named) in {UNCHANGED, ()} else tuple(named)


def is_better(name: str, new: float, old: float) -> bool:
    """Return whether `new` is strictly better than `old`; a name that is not known counts as a loss."""
    known = METRICS.get(name)
    return new > old if known is not None and known.better == "higher" else new < old
