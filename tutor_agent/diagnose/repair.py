"""Repairs: a fix applied to a plan under the honesty contract, and the proof that it worked."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal

from tutor_agent.core.changes import apply, diff
from tutor_agent.core.errors import InvalidPlanError
from tutor_agent.diagnose.watch import BROKEN_NUMBERS, DIVERGENCE, STILL_WEIGHTS, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Set

    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.core.plan import Plan

Safety = Literal["safe", "ask", "manual"]

PROTECTED = ("skill", "params", "data", "task", "model.source", "model.revision")
"""What a safe fix may not touch: the method, the data and its length, the task and the model."""

_FAMILIES = (
    frozenset({*BROKEN_NUMBERS, *DIVERGENCE, "loss_spike_instability"}),
    frozenset(STILL_WEIGHTS),
)
_ENOUGH_STEPS = 20
_STEPS_BEYOND = 5
_ENOUGH_EVALUATIONS = 3


def repaired(plan: Plan, fix: Fix) -> Plan:
    """Return the plan with the fix applied.

    Raises:
        InvalidPlanError: The change is not allowed, or a safe fix breaks the honesty contract.
    """
    after = apply(plan, fix.change)
    broken = broken_promises(plan, after) if fix.safety == "safe" else []
    if broken:
        raise InvalidPlanError(
            f"The fix {fix.id!r} calls itself safe and changes {', '.join(broken)}. A safe fix keeps method, "
            "data, sequence length and effective batch; mark it `ask`.",
            f"修复 {fix.id!r} 自称安全，却改动了 {'、'.join(broken)}。安全的修复不改变方法、数据、序列长度和"
            "有效批量；请标为 `ask`。",
        )
    return after


def broken_promises(before: Plan, after: Plan) -> list[str]:
    """Return what a safe fix must keep and this change does not."""
    changed = [
        path
        for path in diff(before, after).paths
        if any(path == kept or path.startswith(f"{kept}.") for kept in PROTECTED)
    ]
    if before.effective_batch != after.effective_batch:
        changed.append(f"effective batch ({before.effective_batch} → {after.effective_batch})")
    return changed


def best_fix(finding: Finding, allow: Set[Safety]) -> Fix | None:
    """Return the first fix that changes the plan and may be applied by whoever is asking."""
    return next((f for f in finding.fixes if f.safety in allow and f.change.entries), None)


def is_gone(finding: Finding, events: Iterable[Event]) -> bool | None:
    """Say whether the repaired run is free of the fault; None while it is too early to know.

    `events` are those of the repaired run, or of the same run after its resume; only the last attempt
    counts.
    """
    everything = list(events)
    attempt = max((event.attempt for event in everything), default=0)
    last = [event for event in everything if event.attempt == attempt]
    if _comes_back(finding, last):
        return False
    ended = next((event for event in reversed(last) if event.kind == "run_ended"), None)
    if ended is not None:
        state = ended.payload.get("state")
        return True if state == "completed" else (False if state == "failed" else None)
    return True if _has_passed(finding, last) else None


def _comes_back(finding: Finding, events: list[Event]) -> bool:
    family = next((f for f in _FAMILIES if finding.cause in f), frozenset({finding.cause}))
    watch = Watch()
    return any(
        found.cause in family and found.severity != "hint"
        for event in events
        for found in watch.feed(event)
    )


def _has_passed(finding: Finding, events: list[Event]) -> bool:
    """Whether the run is well past the place where the fault showed."""
    steps = [
        e.step for e in events if e.kind == "step" and math.isfinite(e.number("loss") or math.nan)
    ]
    if finding.cause == "overfitting":
        during = [
            e for e in events if e.kind == "evaluation" and e.payload.get("phase") == "during"
        ]
        return len(during) > _ENOUGH_EVALUATIONS
    if not steps:
        return False
    beyond = finding.step is not None and steps[-1] >= finding.step + _STEPS_BEYOND
    return len(steps) >= _ENOUGH_STEPS or (beyond and len(steps) > _STEPS_BEYOND)
