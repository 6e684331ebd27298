"""Repairs: which fix comes next, a fix applied under the honesty contract, and the proof that it worked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.core.changes import PlanChange, apply, diff
from tutor_agent.core.errors import InvalidPlanError
from tutor_agent.diagnose.watch import BROKEN_NUMBERS, DIVERGENCE, STILL_WEIGHTS, Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence, Set

    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.core.plan import Plan

Safety = Literal["safe", "ask", "manual"]

PROTECTED = ("skill", "params", "data", "task", "model.source", "model.revision")
"""What a safe fix may not touch: the method, the data and its length, the task and the model."""
MOST_TIMES = 2
"""A fix that moves a figure further each time may be applied so often along a line of repairs."""

_FAMILIES = (
    frozenset({*BROKEN_NUMBERS, *DIVERGENCE, "loss_spike_instability"}),
    frozenset(STILL_WEIGHTS),
    frozenset({"oom_model_states", "oom_long_batch", "oom_fragmentation"}),
)
_SEVERITIES = ("stop", "warn", "hint")
_ENOUGH_STEPS = 20
_STEPS_BEYOND = 5
_ENOUGH_EVALUATIONS = 3


class Tried(NamedTuple):
    """A fix that was applied."""

    cause: str
    """Slug of the fault that it answered."""
    fix: str
    """Its id."""
    change: PlanChange = PlanChange()
    """The plan fields that it changed, with their new values."""


@dataclass(frozen=True, slots=True)
class History:
    """What was done already along a line of repairs."""

    tried: tuple[Tried, ...] = ()
    """Every fix that was applied, oldest first."""
    plans: tuple[Plan, ...] = ()
    """Every plan that ran."""

    def uses(self, cause: str, fix: str) -> list[Tried]:
        """Return the uses of a fix against this fault or one of the same look."""
        family = family_of(cause)
        return [one for one in self.tried if one.fix == fix and one.cause in family]


def family_of(cause: str) -> frozenset[str]:
    """Return the causes that look alike: when one follows the other, the trouble has stayed."""
    return next((family for family in _FAMILIES if cause in family), frozenset({cause}))


def main_finding(findings: Sequence[Finding], cause: str | None = None) -> Finding | None:
    """Return the finding to repair: the one named, else the gravest, else none."""
    named = next((f for f in findings if f.cause == cause), None)
    return named or min(findings, key=lambda f: _SEVERITIES.index(f.severity), default=None)


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


def next_fix(
    finding: Finding, allow: Set[Safety], plan: Plan, history: History | None = None
) -> Fix | None:
    """Return the fix to try now: the first of the ladder that was not tried; None when all are used up.

    What leaves the plan as it is, or leads back to a plan that ran already, counts as used up. A safe fix
    that moves a figure further is tried again, at most `MOST_TIMES` in all, before one that must be asked
    for. Fixes that only the person can do count where `allow` holds `manual`.
    """
    known = history or History()
    ladder = [f for f in finding.fixes if f.safety in allow and _leads_on(f, plan, known)]
    uses = {f.id: known.uses(finding.cause, f.id) for f in ladder}
    fresh = [f for f in ladder if not uses[f.id]]
    again = [f for f in ladder if 0 < len(uses[f.id]) < MOST_TIMES and _moves_on(f, uses[f.id])]
    if fresh and fresh[0].safety == "safe":
        return fresh[0]
    safe_again = next((f for f in again if f.safety == "safe"), None)
    return safe_again or next(iter([*fresh, *again]), None)


def _leads_on(fix: Fix, plan: Plan, history: History) -> bool:
    if fix.safety == "manual":
        return True
    try:
        after = repaired(plan, fix)
    except InvalidPlanError:
        return False
    return after != plan and after not in history.plans


def _moves_on(fix: Fix, uses: Iterable[Tried]) -> bool:
    """Whether the fix moves a figure further than it did before: by a factor, or to a new value."""
    if any(entry.op != "set" for entry in fix.change.entries):
        return True
    wanted = {entry.path: entry.value for entry in fix.change.entries}
    return all(
        any(e.value != wanted.get(e.path, e.value) for e in one.change.entries) for one in uses
    )


class Verification:
    """Watches a repaired run for the fault of its parent; only the newest attempt counts."""

    def __init__(self, finding: Finding) -> None:
        self._finding = finding
        self._family = family_of(finding.cause)
        self._attempt = 0
        self._begin()

    def _begin(self) -> None:
        self._first: int | None = None
        self._last = self._finite = self._evaluations = 0
        self._back = False
        self._ended: str | None = None

    def feed(self, event: Event) -> None:
        """Take one event of the repaired run."""
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            self._begin()
        if event.kind == "run_ended":
            self._ended = str(event.payload.get("state"))
        elif event.kind == "evaluation":
            self._evaluations += event.payload.get("phase") == "during"
        elif event.kind == "step" and not self._back:
            self._first = event.step if self._first is None else self._first
            if math.isfinite(event.number("loss") or math.nan):
                self._finite, self._last = self._finite + 1, event.step

    def notice(self, *found: Finding) -> None:
        """Take what was found in the repaired run."""
        self._back |= any(f.cause in self._family and f.severity != "hint" for f in found)

    @property
    def held(self) -> int:
        """Optimizer steps done without the fault."""
        return 0 if self._first is None else max(0, self._last - self._first + 1)

    def gone(self, *, examined: bool = False) -> bool | None:
        """Say whether the fault is gone; None while it is too early to know.

        Args:
            examined: Whether the end was examined: then a failure for another reason proves nothing.
        """
        if self._back:
            return False
        if self._ended == "completed" or self._has_passed():
            return True
        return False if self._ended == "failed" and not examined else None

    def _has_passed(self) -> bool:
        """Whether the run is well past the place where the fault showed."""
        if self._finding.cause == "overfitting":
            return self._evaluations > _ENOUGH_EVALUATIONS
        step = self._finding.step
        beyond = step is not None and self._last >= step + _STEPS_BEYOND
        return self._finite >= _ENOUGH_STEPS or (beyond and self._finite > _STEPS_BEYOND)


def is_gone(finding: Finding, events: Iterable[Event]) -> bool | None:
    """Say whether the repaired run is free of the fault; None while it is too early to know.

    `events` are those of the repaired run, or of the same run after its resume; only the last attempt
    counts.
    """
    everything = list(events)
    attempt = max((event.attempt for event in everything), default=0)
    verification, watch = Verification(finding), Watch()
    for event in everything:
        if event.attempt == attempt:
            verification.feed(event)
            verification.notice(*watch.feed(event))
    return verification.gone()
