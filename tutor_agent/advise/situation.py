"""What every rule looks at, and what every rule gives: a value with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tutor_agent.core.advice import Why
from tutor_agent.core.text import Text
from tutor_agent.estimate.lengths import LengthCurve, curve_of

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.contract import Contract
    from tutor_agent.core.facts import Facts
    from tutor_agent.core.plan import Task
    from tutor_agent.estimate.footprint import Footprint
    from tutor_agent.skillkit.contract import Skill

BILLION = 1_000_000_000


class Field(NamedTuple):
    """A value of the plan and its reason."""

    value: JsonValue
    why: Why


Fields = dict[str, Field]
"""Advised values by dotted path."""


@dataclass(frozen=True)
class Situation:
    """The facts, seen through one skill."""

    facts: Facts
    skill: Skill
    params: Contract
    footprint: Footprint

    @property
    def task(self) -> Task:
        """What is learnt: as said, else as the data suggests."""
        return self.facts.goal.task or self.facts.data.task

    @property
    def cpu(self) -> bool:
        """Whether it runs without an accelerator."""
        return not self.facts.machine.accelerators

    @property
    def devices(self) -> int:
        """Processes that are used: one a GPU, or one on a CPU."""
        return max(1, len(self.facts.machine.accelerators))

    @property
    def method(self) -> str:
        """Training method: full, lora or freezing."""
        return self.footprint.method

    @property
    def billions(self) -> float:
        """Size of the model in billions of parameters."""
        return self.facts.model.parameters.total / BILLION

    @property
    def lengths(self) -> LengthCurve:
        """Sample lengths of the data."""
        return curve_of(self.facts.data)

    @property
    def wish(self) -> str:
        """What matters most."""
        return self.facts.goal.wish

    def assumes(self, slot: str) -> bool:
        """Return whether `slot` of the goal was never said."""
        goal = self.facts.goal
        if slot == "task":
            return goal.task is None
        return slot not in goal.model_fields_set


def because(
    en: str,
    zh: str,
    *,
    source: str,
    card: str | None = None,
    other: tuple[str, str] | None = None,
    assumed: bool = False,
) -> Why:
    """Make a reason; `other` is the alternative in both languages."""
    return Why(
        reason=Text(en=en, zh=zh),
        card=card,
        source=source,
        alternative=None if other is None else Text(en=other[0], zh=other[1]),
        assumed=assumed,
    )


def nested(fields: Fields) -> dict[str, Any]:
    """Return advised values as the nested mapping that a plan is made of."""
    tree: dict[str, Any] = {}
    for path, field in fields.items():
        *parents, leaf = path.split(".")
        place = tree
        for part in parents:
            place = place.setdefault(part, {})
        place[leaf] = field.value
    return tree


def billions_text(parameters: int) -> str:
    """Return a parameter count as people say it: 135M, 6.9B."""
    if parameters < BILLION:
        return f"{parameters / 1e6:.0f}M"
    return f"{parameters / BILLION:.1f}B"
