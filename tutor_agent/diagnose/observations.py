"""What a log, a run or a person's words say, in one shape for every rule."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tutor_agent.diagnose.series import Series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan


@dataclass(slots=True)
class Observations:
    """Everything the rules may look at; an absent thing is empty, never an error."""

    series: dict[str, Series] = field(default_factory=dict[str, Series])
    """Metrics by our names: loss, grad_norm, learning_rate, eval_loss, epoch, tokens_per_second …"""
    lines: tuple[str, ...] = ()
    """Text lines without colour codes and overwritten progress bars."""
    config: dict[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    """Settings, flattened to dotted keys."""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of packages, where known."""
    symptom: str = ""
    """What the person says."""
    halted: Event | None = None
    """The event that stopped our own run."""
    audit: Event | None = None
    """What our own run found before training."""
    phase: str = ""
    """Where the log ends: load, train, evaluate, save."""
    plan: Plan | None = None
    """The plan, for our own runs."""

    def metric(self, name: str) -> Series:
        """Return a metric, empty when it was never logged."""
        return self.series.get(name) or Series()


def with_words(
    observations: Observations, symptom: str, config: Mapping[str, JsonValue] | None
) -> Observations:
    """Add what the person says and the settings that are known."""
    observations.symptom = symptom or observations.symptom
    observations.config |= dict(config or {})
    return observations
