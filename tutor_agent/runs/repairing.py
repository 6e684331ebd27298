"""The next repair of a run: which fix, what it changes, where it begins, and its start."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.core.advice import Why, load_why
from tutor_agent.core.changes import PlanChange, diff
from tutor_agent.core.contract import Contract
from tutor_agent.core.findings import Finding, Fix
from tutor_agent.core.plan import Plan
from tutor_agent.core.text import Text
from tutor_agent.diagnose.repair import next_fix, repaired
from tutor_agent.runs.folder import Lineage
from tutor_agent.runs.ledger import history, rollback

if TYPE_CHECKING:
    from collections.abc import Set

    from tutor_agent.diagnose.repair import Safety
    from tutor_agent.runs.folder import RunFolder

_REASON = Text(en="Repair of {run} ({cause}): {title}.", zh="对 {run}（{cause}）的修复：{title}。")


class Repair(Contract):
    """A repair of a run, not yet started."""

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

    def lineage(self, by: Literal["person", "autopilot"]) -> Lineage:
        """Return what the repaired run records of its origin."""
        return Lineage(
            parent=self.run,
            cause=self.finding.cause,
            fix=self.fix.id,
            change=self.change,
            resume_from=self.resume_from,
            by=by,
        )

    def reasons(self, folder: RunFolder) -> dict[str, Why]:
        """Return the reasons for the plan: those of the run, and the repair for what it changes."""
        words = {"run": self.run, "cause": self.finding.cause}
        reason = Text(
            en=_REASON.en.format(**words, title=self.fix.title.en.rstrip(".")),
            zh=_REASON.zh.format(**words, title=self.fix.title.zh.rstrip("。")),
        )
        return {**load_why(folder.why_path), **{p: Why(reason=reason) for p in self.change.paths}}


def escalated(folder: RunFolder, finding: Finding, plan: Plan, allow: Set[Safety]) -> Fix | None:
    """Return the first fix of the ladder that was not used up along this line of repairs."""
    return next_fix(finding, allow, plan, history(folder, finding.cause))


def prepare(folder: RunFolder, finding: Finding, fix: Fix, plan: Plan) -> Repair:
    """Work out what `fix` makes of a run.

    Raises:
        InvalidPlanError: The change is not allowed, or a safe fix breaks the honesty contract.
    """
    after = repaired(plan, fix)
    checkpoint = rollback(folder, finding, fix)
    return Repair(
        run=folder.name,
        finding=finding,
        fix=fix,
        before=plan,
        after=after,
        change=diff(plan, after),
        resume_from=str(checkpoint) if checkpoint else None,
    )
