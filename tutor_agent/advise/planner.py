"""From facts to a plan with reasons, and from a change to a new plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.changes import PlanChange

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice, Why
    from tutor_agent.core.facts import Facts
    from tutor_agent.core.plan import Plan
    from tutor_agent.skillkit.registry import Registry


NO_CHANGE = PlanChange()


def make_advice(
    facts: Facts,
    skills: Registry,
    *,
    change: PlanChange = NO_CHANGE,
    name: str | None = None,
) -> Advice:
    """Recommend a strategy and write its plan, with a reason and a source for every value."""
    raise NotImplementedError


def revise(
    plan: Plan, why: dict[str, Why], change: PlanChange, facts: Facts, skills: Registry
) -> Advice:
    """Apply the person's change to a plan and price it anew."""
    raise NotImplementedError
