"""Repairs: a fix applied to a plan under the honesty contract."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.core.changes import apply

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.core.plan import Plan

Safety = Literal["safe", "ask", "manual"]


def repaired(plan: Plan, fix: Fix) -> Plan:
    """Return the plan with the fix applied."""
    return apply(plan, fix.change)


def best_fix(finding: Finding, allow: Set[Safety]) -> Fix | None:
    """Return the first fix that may be applied by whoever is asking."""
    return next((f for f in finding.fixes if f.safety in allow and f.change.entries), None)


def is_gone(finding: Finding, events: Iterable[Event]) -> bool | None:
    """Say whether the repaired run is free of the fault; None while it is too early to know."""
    del finding, events
    return None
