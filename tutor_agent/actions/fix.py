"""Repair a run: choose a fix, show what it changes, start the repaired run from the last good checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.actions.diagnose import diagnose_run
from tutor_agent.actions.run import start_run
from tutor_agent.actions.runs import show_run
from tutor_agent.core.advice import load_why
from tutor_agent.core.changes import PlanChange, diff
from tutor_agent.core.checkpoints import last_good
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.findings import Finding, Fix
from tutor_agent.core.plan import Plan
from tutor_agent.diagnose.repair import best_fix, repaired
from tutor_agent.runs.folder import Lineage, RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.core.text import Text
    from tutor_agent.runs.view import RunView


class FixProposal(Contract):
    """A repair, ready to be agreed to."""

    run: str
    """Name of the run that is repaired."""
    finding: Finding
    """What went wrong."""
    fix: Fix
    """What is proposed."""
    before: Plan
    """The plan that ran."""
    after: Plan
    """The plan that would run."""
    change: PlanChange
    """The difference."""
    resume_from: str | None = None
    """Checkpoint the repaired run begins from; None starts anew."""


def propose_fix(
    context: Context, run: str | None = None, cause: str | None = None, fix_id: str | None = None
) -> FixProposal:
    """Choose the best fix for what is wrong with a run.

    Raises:
        NotPossibleError: Nothing is wrong, or only the person can mend it.
    """
    view = show_run(context, run)
    findings = view.findings or diagnose_run(context, view.name).findings
    finding = next((f for f in findings if cause in (None, f.cause)), None)
    if finding is None:
        raise NotPossibleError(
            f"Nothing to repair: no fault was found in {view.name!r} (state {view.state}).",
            f"无需修复：{view.name!r}（状态 {view.state}）没有发现故障。",
        )
    fix = next((f for f in finding.fixes if f.id == fix_id), None) or best_fix(
        finding, {"safe", "ask"}
    )
    if fix is None:
        steps = "; ".join(f.title.en for f in finding.fixes)
        steps_zh = "；".join(f.title.zh for f in finding.fixes)
        raise NotPossibleError(
            f"{finding.title.en} The tutor cannot repair this by itself. You can: {steps}.",
            f"{finding.title.zh} 这个问题需要您动手：{steps_zh}。",
        )
    after = repaired(view.plan, fix)
    return FixProposal(
        run=view.name,
        finding=finding,
        fix=fix,
        before=view.plan,
        after=after,
        change=diff(view.plan, after),
        resume_from=_resume_point(Path(view.path), fix),
    )


def apply_fix(
    context: Context, proposal: FixProposal, report: Callable[[Text], None] | None = None
) -> RunView:
    """Start the repaired plan as a new run; the old run stays as it is, and the lineage says why."""
    old = RunFolder(Path(show_run(context, proposal.run).path))
    lineage = Lineage(
        parent=proposal.run,
        cause=proposal.finding.cause,
        fix=proposal.fix.id,
        change=proposal.change,
        resume_from=proposal.resume_from,
    )
    return start_run(context, proposal.after, load_why(old.why_path), report, lineage)


def _resume_point(run: Path, fix: Fix) -> str | None:
    if fix.resume != "last_good":
        return None
    checkpoint = last_good(RunFolder(run).checkpoints)
    return str(checkpoint) if checkpoint else None
