"""The ledger of a line of repairs: what was tried and what came of it, read from the run folders."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Literal

from tutor_agent.core.changes import PlanChange
from tutor_agent.core.checkpoints import is_good, last_good, step_of
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError
from tutor_agent.core.text import Text
from tutor_agent.diagnose.repair import History, Tried, family_of
from tutor_agent.runs.folder import ACTIVE, Lineage, RunFolder, State, Status, is_run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.core.plan import Plan

Outcome = Literal["gone", "back", "open"]


class Trial(Contract):
    """One repair that was tried."""

    run: str
    """The repaired run."""
    parent: str
    """The run that it repairs."""
    cause: str
    """Slug of the fault that it answers."""
    fix: str
    """Id of the fix."""
    title: Text
    """What was done, in one sentence."""
    change: PlanChange
    """How the plan differs from the parent's."""
    by: Literal["person", "autopilot"] = "person"
    """Who decided on it."""
    state: State
    """Where the repaired run stands."""
    outcome: Outcome = "open"
    """gone: the fault did not return; back: it did; open: that is not known, or not yet."""
    held: int | None = None
    """Steps done without the fault."""


def read_lineages(root: Path) -> dict[str, Lineage]:
    """Return where every run under `root` comes from, by name, oldest first."""
    paths = [path for path in root.iterdir() if is_run(path)] if root.is_dir() else []
    return {path.name: _lineage(path) for path in sorted(paths, key=_age)}


def ledger(
    folder: RunFolder,
    lineages: Mapping[str, Lineage] | None = None,
    *,
    status: Status | None = None,
    read: Callable[[RunFolder], Status] = RunFolder.status,
) -> tuple[Trial, ...]:
    """Return the repairs that led to a run, and those that were made of it, oldest first.

    Args:
        folder: The run.
        lineages: Where all runs beside it come from, when that is known already.
        status: Where the run itself stands, when that is not written yet.
        read: How the others are asked where they stand.
    """
    known = read_lineages(folder.path.parent) if lineages is None else lineages
    line = [*reversed(ancestors(folder.name, known)), folder.name]
    line += _descendants(folder.name, known)
    trials: list[Trial] = []
    for name in line:
        lineage = known.get(name, Lineage())
        if lineage.parent and lineage.cause and lineage.fix:
            one = RunFolder(folder.path.parent / name)
            stands = status if status and name == folder.name else read(one)
            trials.append(_trial(one, lineage, stands))
    return tuple(trials)


def ancestors(name: str, lineages: Mapping[str, Lineage]) -> list[str]:
    """Return the runs that a run comes from, the nearest first; a circle ends."""
    found: list[str] = []
    origin = lineages.get(name, Lineage()).parent
    while origin is not None and origin in lineages and origin not in {name, *found}:
        found.append(origin)
        origin = lineages[origin].parent
    return found


def history(folder: RunFolder, cause: str) -> History:
    """Return what need not be tried again against `cause`: the line up to this run, and failed repairs of it."""
    lineages = read_lineages(folder.path.parent)
    up = {folder.name, *ancestors(folder.name, lineages)}
    family = family_of(cause)
    trials = [
        t
        for t in ledger(folder, lineages)
        if t.run in up or (t.parent == folder.name and t.outcome == "back")
    ]
    plans = [RunFolder(folder.path.parent / name) for name in {*up, *(t.run for t in trials)}]
    return History(
        tried=tuple(Tried(t.cause, t.fix, t.change) for t in trials if t.cause in family),
        plans=tuple(plan for one in plans if (plan := _plan(one)) is not None),
    )


def rollback(folder: RunFolder, finding: Finding, fix: Fix) -> Path | None:
    """Return the checkpoint that a repaired run begins from; None begins anew.

    That is the newest good one from before the fault showed. A run that met the fault again before it
    had saved anything gives up the checkpoint that it began from too, and goes one further back.
    """
    if fix.resume != "last_good":
        return None
    before = None if finding.step is None else finding.step + 1
    own = last_good(folder.checkpoints, before)
    lineage = folder.load_lineage()
    if own is not None or lineage.resume_from is None:
        return own
    origin = folder.path / lineage.resume_from
    if lineage.cause is not None and finding.cause in family_of(lineage.cause):
        return last_good(origin.parent, step_of(origin))
    return origin if is_good(origin) else None


def _descendants(name: str, lineages: Mapping[str, Lineage]) -> Iterable[str]:
    """Return the runs that come from a run, in the order of their making."""
    found = [name]
    for child, lineage in lineages.items():
        if lineage.parent in found and child not in found:
            found.append(child)
    return found[1:]


def _trial(folder: RunFolder, lineage: Lineage, status: Status) -> Trial:
    parent = RunFolder(folder.path.parent / str(lineage.parent))
    return Trial(
        run=folder.name,
        parent=parent.name,
        cause=str(lineage.cause),
        fix=str(lineage.fix),
        title=_title(parent, lineage),
        change=lineage.change,
        by=lineage.by,
        state=status.state,
        outcome=outcome_of(status),
        held=status.held,
    )


def outcome_of(status: Status) -> Outcome:
    """Return what came of the repair that a run is; a run that goes on may still meet the fault."""
    if status.fault_gone is None or (status.fault_gone and status.state in ACTIVE):
        return "open"
    return "gone" if status.fault_gone else "back"


def _title(parent: RunFolder, lineage: Lineage) -> Text:
    fixes = (f for finding in parent.load_findings() for f in finding.fixes)
    return next((f.title for f in fixes if f.id == lineage.fix), Text.same(str(lineage.fix)))


def _plan(folder: RunFolder) -> Plan | None:
    try:
        return folder.load_plan()
    except TutorError:
        return None


def _age(path: Path) -> tuple[int, str]:
    try:
        return (path / "lineage.json").stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _lineage(path: Path) -> Lineage:
    """Return the lineage of a run, which never changes once it is written."""
    try:
        return _lineage_of(path, (path / "lineage.json").stat().st_mtime_ns)
    except OSError:
        return Lineage()


@lru_cache(maxsize=1024)
def _lineage_of(path: Path, version: int) -> Lineage:
    del version
    return RunFolder(path).load_lineage()
