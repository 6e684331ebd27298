"""The metrics of a run's task, before and after training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.core.contract import Contract
from tutor_agent.core.metric_names import METRICS, is_better, metrics_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan
    from tutor_agent.core.text import Text

Outcome = Literal["better", "worse", "same"]

_SAID_BY_THE_LOSS = frozenset({"perplexity"})


class MetricChange(Contract):
    """One metric on the test rows."""

    name: str
    """Its name in the plan."""
    before: float | None = None
    """With the untouched model."""
    after: float | None = None
    """With the kept weights."""

    @property
    def title(self) -> Text:
        """What a person calls it."""
        return METRICS[self.name].title

    @property
    def outcome(self) -> Outcome | None:
        """Whether it is better after training; None while one figure is missing."""
        if self.before is None or self.after is None:
            return None
        if self.before == self.after:
            return "same"
        return "better" if is_better(self.name, self.after, self.before) else "worse"

    def shown(self, value: float | None) -> str:
        """Return a figure as people write this metric: shares in per cent, BLEU and chrF out of 100."""
        if value is None:
            return "–"
        metric = METRICS[self.name]
        if metric.scale != 1.0:
            return f"{value:.1f}"
        return f"{value:.2f}" if metric.better == "lower" else f"{value * 100:.1f}%"


def metric_changes(plan: Plan, held_out: Mapping[str, Event]) -> tuple[MetricChange, ...]:
    """Return the measured metrics of the plan, its task's own first; `held_out` holds events by phase."""
    before, after = held_out.get("before"), held_out.get("after")
    found: list[MetricChange] = []
    for name in metrics_of(plan.task, plan.evaluation.metrics):
        values = [event.number(name) if event is not None else None for event in (before, after)]
        if name in METRICS and values != [None, None]:
            found.append(MetricChange(name=name, before=values[0], after=values[1]))
    return tuple(found)


def beside_the_loss(metrics: Iterable[MetricChange]) -> tuple[MetricChange, ...]:
    """Return the metrics that say more than the loss does."""
    return tuple(metric for metric in metrics if metric.name not in _SAID_BY_THE_LOSS)


def main_metric(metrics: Iterable[MetricChange]) -> MetricChange | None:
    """Return the task's own metric, when it was measured before and after."""
    return next((m for m in beside_the_loss(metrics) if m.outcome is not None), None)
