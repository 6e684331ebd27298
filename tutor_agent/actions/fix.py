"""Repair a run: choose a fix, show what it changes, start the repaired run from the last good checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.actions.diagnose import diagnose_run
from tutor_agent.actions.run import start_run
from tutor_agent.actions.runs import show_run
from tutor_agent.core.errors import NotFoundError, NotPossibleError
from tutor_agent.core.text import Text  # noqa: TC001 - a field needs it at run time
from tutor_agent.diagnose.repair import main_finding
from tutor_agent.runs.folder import ACTIVE, RunFolder
from tutor_agent.runs.ledger import history
from tutor_agent.runs.repairing import Repair, escalated, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tutor_agent.actions.context import Context
    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.runs.view import RunView


class FixProposal(Repair):
    """A repair, ready to be agreed to."""

    story: tuple[Text, ...] = ()
    """How the run came to be halted, a sentence each."""


def propose_fix(
    context: Context, run: str | None = None, cause: str | None = None, fix_id: str | None = None
) -> FixProposal:
    """Choose the next fix for what is wrong with a run: what was tried along its line is not proposed again.

    Raises:
        NotPossibleError: Nothing is wrong, a repair is under way or has worked, or only the person can mend it.
        NotFoundError: The finding has no fix called `fix_id`.
    """
    view = show_run(context, run)
    folder = RunFolder(Path(view.path))
    _refuse_if_repaired(view, fix_id)
    findings = view.findings or diagnose_run(context, view.name).findings
    finding = _finding(view, findings, cause)
    if fix_id is not None:
        fix = _named(finding, fix_id)
    else:
        fix = escalated(folder, finding, view.plan, {"safe", "ask"})
    if fix is None or not fix.change.entries:
        raise _left_to_the_person(folder, finding)
    repair = prepare(folder, finding, fix, view.plan)
    return FixProposal.model_validate({**dict(repair), "story": view.story})


def apply_fix(
    context: Context, proposal: FixProposal, report: Callable[[Text], None] | None = None
) -> RunView:
    """Start the repaired plan as a new run; the old run stays as it is, and the lineage says why."""
    old = RunFolder(Path(show_run(context, proposal.run).path))
    lineage = proposal.lineage("person")
    return start_run(context, proposal.after, proposal.reasons(old), report, lineage)


def _refuse_if_repaired(view: RunView, fix_id: str | None) -> None:
    """Refuse a second repair beside one that is under way, and after one that worked unless a fix is named."""
    made = [trial for trial in view.trials if trial.parent == view.name]
    working = next((t for t in made if t.state in ACTIVE), None)
    if working is not None:
        raise NotPossibleError(
            f"{view.name!r} is being repaired already: {working.run!r} is under way ({working.fix}). Look at it with "
            f"tutor show {working.run}, or end it with tutor stop {working.run}.",
            f"{view.name!r} 已经在修复：{working.run!r} 正在运行（{working.fix}）。可用 tutor show {working.run} 查看，"
            f"或用 tutor stop {working.run} 结束它。",
        )
    worked = next((t for t in made if t.outcome == "gone"), None)
    if worked is not None and fix_id is None:
        raise NotPossibleError(
            f"{view.name!r} is repaired already: in {worked.run!r} ({worked.fix}) the fault is gone. Look at it with "
            f"tutor show {worked.run}, or name another fix with --fix.",
            f"{view.name!r} 已经修复：在 {worked.run!r}（{worked.fix}）里故障已消除。可用 tutor show {worked.run} 查看，"
            "或用 --fix 指定另一种修复。",
        )


def _finding(view: RunView, findings: Sequence[Finding], cause: str | None) -> Finding:
    if cause is not None:
        findings = [finding for finding in findings if finding.cause == cause]
    finding = main_finding(findings, cause or view.cause)
    if finding is None:
        raise NotPossibleError(
            f"Nothing to repair: no fault was found in {view.name!r} (state {view.state}).",
            f"无需修复：{view.name!r}（状态 {view.state}）没有发现故障。",
        )
    return finding


def _named(finding: Finding, fix_id: str) -> Fix:
    fix = next((f for f in finding.fixes if f.id == fix_id), None)
    if fix is None:
        known = [f.id for f in finding.fixes]
        raise NotFoundError(
            f"{finding.cause} has no fix {fix_id!r}. Choose: {', '.join(known) or 'none'}.",
            f"{finding.cause} 没有名为 {fix_id!r} 的修复。可选：{'、'.join(known) or '无'}。",
        )
    return fix


def _left_to_the_person(folder: RunFolder, finding: Finding) -> NotPossibleError:
    """Say what was tried, and what only the person can do."""
    tried = [one.fix for one in history(folder, finding.cause).tried]
    manual = [f for f in finding.fixes if f.safety == "manual"]
    steps = "; ".join(f.title.en for f in manual) or f"read tutor explain {finding.cause}"
    steps_zh = "；".join(f.title.zh for f in manual) or f"阅读 tutor explain {finding.cause}"
    title, title_zh = finding.title.en.rstrip("."), finding.title.zh.rstrip("。")
    if not tried:
        return NotPossibleError(
            f"{title}. The tutor cannot repair this by itself. You can: {steps}.",
            f"{title_zh}。这个问题需要您动手：{steps_zh}。",
        )
    return NotPossibleError(
        f"{title}. The repairs that the tutor knows were all tried ({', '.join(tried)}) and the fault is still "
        f"there. You can: {steps}.",
        f"{title_zh}。导师会的修复都试过了（{'、'.join(tried)}），故障依旧。您可以：{steps_zh}。",
    )
