"""Which question is worth asking: only one whose answer would change the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts, Goal, Machine, ModelFacts


class Choice(Contract):
    """One answer."""

    value: JsonValue
    """What is stored in the slot."""
    text: Text
    """What the person reads."""
    effect: Text | None = None
    """How the plan would differ."""


class Question(Contract):
    """The next thing to ask."""

    slot: str
    """What is asked for: data, model, or a field of the goal."""
    text: Text
    """The question."""
    choices: tuple[Choice, ...] = ()
    """Plausible answers; empty when anything may be said."""


def next_question(
    goal: Goal, data: DataFacts | None, model: ModelFacts | None, machine: Machine | None
) -> Question | None:
    """Return the question whose answer would change the plan most; None when nothing is worth asking."""
    raise NotImplementedError
