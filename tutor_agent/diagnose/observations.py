"""What a log, a run or a person's words say, in one shape for every rule."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tutor_agent.diagnose.series import Series

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan

_ERROR = re.compile(r"^\s*(?:[\w.]+\.)?\w*(?:Error|Exception|Interrupt)\b\s*[:：]?.*|^Killed\b.*")
_LAUNCHER = re.compile(
    r"ChildFailedError|SignalException|ProcessExitedException|ProcessRaisedException|CalledProcessError|"
    r"KeyboardInterrupt|RendezvousConnectionError"
)
_NUMBER_HEAVY = re.compile(
    r"[{}=|]|\bFile \"|^\s{2,}|^\[|^[\w.]+Error\b|^Exception: |::|\w+Warning\b|warnings\.warn|"
    r"^[IWEF]\d{4} |^(?:srun|slurmstepd|sbatch): |^\S+:\d+:\d+ \[\d+\] "
)


@dataclass(slots=True)
class Observations:
    """Everything the rules may look at; an absent thing is empty, never an error."""

    series: dict[str, Series] = field(default_factory=dict[str, Series])
    """Metrics by our names: loss, grad_norm, learning_rate, eval_loss, epoch, tokens_per_second …"""
    lines: tuple[str, ...] = ()
    """Text lines without colour codes and overwritten progress bars."""
    metric_lines: int = 0
    """How many lines held metrics."""
    config: dict[str, JsonValue] = field(default_factory=dict[str, "JsonValue"])
    """Settings, flattened to dotted keys."""
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """Versions of packages, where known."""
    symptom: str = ""
    """What the person says."""
    halted: Event | None = None
    """The event that stopped our own run."""
    failed: bool = False
    """Whether our own run ended with an error."""
    audit: Event | None = None
    """What our own run found before training."""
    phase: str = ""
    """Where the log ends: load, train, evaluate, save."""
    plan: Plan | None = None
    """The plan, for our own runs."""
    finished: bool = False
    """Whether the tool said that training is over."""

    def metric(self, name: str) -> Series:
        """Return a metric, empty when it was never logged."""
        return self.series.get(name) or Series()

    @property
    def text(self) -> str:
        """The log as one text."""
        return "\n".join(self.lines)

    @property
    def error(self) -> str:
        """The last line that names an exception, empty when there is none.

        What a launcher says of the failure of its processes comes second to their own words.
        """
        named = [line.strip() for line in self.lines if _ERROR.match(line)]
        own = [line for line in named if not _LAUNCHER.search(line)]
        return (own or named or [""])[-1]

    @property
    def words(self) -> str:
        """What a person wrote: the symptom, and lines of the text that read like prose.

        The lines of our own runs were written by programs.
        """
        if self.plan is not None:
            return self.symptom.strip()
        prose = [line for line in self.lines if not _NUMBER_HEAVY.search(line)]
        return "\n".join([self.symptom, *prose[:40]]).strip()

    @property
    def settings(self) -> str:
        """The settings as `key: value` lines in lower case."""
        return "\n".join(f"{key}: {value}" for key, value in self.config.items()).lower()
