"""Reasons: why each value of a plan is what it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import yaml

from tutor_agent.core.contract import Contract
from tutor_agent.core.forecast import Forecast
from tutor_agent.core.plan import Plan
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path


class Why(Contract):
    """Why one field has its value."""

    reason: Text
    """The reason, in one or two sentences."""
    card: str | None = None
    """Knowledge card that says more."""
    source: str = ""
    """Where the number comes from: paper, documentation, measurement."""
    alternative: Text | None = None
    """What else would be sensible, and when."""
    assumed: bool = False
    """True when nobody said it: a word changes it."""


class Candidate(Contract):
    """One strategy that was weighed."""

    skill: str
    """Training skill."""
    title: Text
    """Name for people."""
    forecast: Forecast
    """What it would cost here."""
    verdict: Text
    """Why it is, or is not, recommended."""
    recommended: bool = False
    """True for exactly one candidate."""


class Advice(Contract):
    """A plan, its reasons, its price, and what was weighed against it."""

    plan: Plan
    """The plan."""
    why: dict[str, Why]
    """Reasons by dotted field path."""
    forecast: Forecast
    """What the plan will cost."""
    candidates: tuple[Candidate, ...] = ()
    """All strategies, the recommended one first."""
    warnings: tuple[Text, ...] = ()
    """What the person should know before starting."""


def save_why(why: dict[str, Why], path: Path) -> None:
    """Write `why.yaml` beside a plan."""
    data = {key: value.model_dump(mode="json", exclude_defaults=True) for key, value in why.items()}
    write_atomic(path, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))


def load_why(path: Path) -> dict[str, Why]:
    """Read `why.yaml`; a missing file gives no reasons."""
    if not path.is_file():
        return {}
    data: dict[str, object] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    return {key: Why.parse(value, f"{path}: {key}") for key, value in data.items()}
