"""The autopilot: when a run has come to a bad end, it starts the repair, if that is safe and was allowed.

It acts only where the plan says `guard.autopilot: bounded`, only on a fault it is sure of, only with a fix
that is graded safe and comes next on the ladder, and only so often along a line of repairs. A stop by a
person ends it.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError
from tutor_agent.core.text import Text
from tutor_agent.diagnose.repair import main_finding
from tutor_agent.probe.machine import inspect_machine
from tutor_agent.runs.begin import Place, begin_run
from tutor_agent.runs.launch.record import Launch
from tutor_agent.runs.ledger import ledger
from tutor_agent.runs.repairing import Repair, escalated, prepare
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.core.findings import Finding, Fix
    from tutor_agent.core.plan import Plan
    from tutor_agent.runs.folder import RunFolder, State

MOST_REPAIRS = 3
"""So many repairs it makes along one line of runs; after them a person decides."""
SURE_ENOUGH = 0.5
"""Below this confidence it leaves the fault to the person."""

_STARTED = Text(
    en="The autopilot applied a safe repair ({title}); training goes on as {child}",
    zh="自动修复已应用一项安全的修复（{title}），训练以 {child} 继续",
)
_UNKNOWN = Text(
    en="The autopilot did nothing: the cause is not known. Look at it: tutor show {run}",
    zh="自动修复没有动手：故障原因不明。请查看：tutor show {run}",
)
_UNSURE = Text(
    en="The autopilot did nothing: the cause is not sure enough. Look at it: tutor fix {run}",
    zh="自动修复没有动手：故障原因还不够确定。请查看：tutor fix {run}",
)
_OFTEN = Text(
    en="The autopilot has made {count} repairs along this line, as many as it may. Decide yourself: tutor fix {run}",
    zh="自动修复沿这条线已做了 {count} 次，达到上限。请您决定：tutor fix {run}",
)
_ASK = Text(
    en="The autopilot left it to you: the next repair ({title}) changes more than a safe one may. "
    "Look at it: tutor fix {run}",
    zh="自动修复交由您决定：下一项修复（{title}）超出了安全修复的范围。请查看：tutor fix {run}",
)
_MANUAL = Text(
    en="The autopilot left it to you: only you can do this: {title}",
    zh="自动修复交由您处理：这一步只有您能做：{title}",
)
_USED_UP = Text(
    en="The autopilot did nothing: every repair of this fault was tried. What you can do: tutor fix {run}",
    zh="自动修复没有动手：针对这个故障的修复都试过了。您可以做的：tutor fix {run}",
)
_NOT_STARTED = Text(
    en="The autopilot could not start the repair ({title}): {reason}",
    zh="自动修复无法启动这项修复（{title}）：{reason}",
)


class Deed(Contract):
    """What the autopilot did, or why it did nothing."""

    text: Text
    """In a sentence."""
    child: str | None = None
    """Name of the repaired run that it started."""


FAILED = Deed(
    text=Text(
        en="The autopilot failed over this end; the log of the supervisor says why. Look at it: tutor fix",
        zh="自动修复在处理这个结局时出错，原因见监管进程的日志。请查看：tutor fix",
    )
)
"""What is said when the autopilot itself breaks."""


def repair_by_itself(folder: RunFolder, state: State, cause: str | None) -> Deed | None:
    """Repair a run that has ended so, if it may; None where it has no say.

    Args:
        folder: The run; its processes are gone.
        state: How it ended.
        cause: Slug of the fault that ended it.
    """
    plan = folder.load_plan()
    if plan.guard.autopilot != "bounded" or state not in {"halted", "failed"}:
        return None
    if folder.stop_marker.exists():
        return None
    decision = decide(folder, plan, cause)
    return decision if isinstance(decision, Deed) else _start(folder, decision)


def decide(folder: RunFolder, plan: Plan, cause: str | None) -> Repair | Deed:
    """Return the repair to make, or why none is made."""
    finding = _sure_finding(folder, cause)
    if finding is None:
        return Deed(text=(_UNSURE if cause else _UNKNOWN).format(run=folder.name))
    made = sum(trial.by == "autopilot" for trial in ledger(folder))
    if made >= MOST_REPAIRS:
        return Deed(text=_OFTEN.format(count=made, run=folder.name))
    fix = escalated(folder, finding, plan, {"safe", "ask", "manual"})
    if fix is None:
        return Deed(text=_USED_UP.format(run=folder.name))
    if fix.safety != "safe":
        words = _ASK if fix.safety == "ask" else _MANUAL
        return Deed(text=_fill(words, fix, run=folder.name))
    return prepare(folder, finding, fix, plan)


def _sure_finding(folder: RunFolder, cause: str | None) -> Finding | None:
    """Return the finding that ended the run; None unless it is sure enough to act on."""
    finding = main_finding(folder.load_findings(), cause)
    if cause is None or finding is None or finding.cause != cause:
        return None
    return finding if finding.confidence >= SURE_ENOUGH and finding.severity != "hint" else None


def _start(folder: RunFolder, repair: Repair) -> Deed:
    root = folder.path.parent
    try:
        launch = Launch.load(folder, folder.last_attempt())
        skill = find_skills(root.parent).get(repair.after.skill)
        place = Place(root, inspect_machine(root), Path(launch.model), launch.timing)
        reasons, lineage = repair.reasons(folder), repair.lineage("autopilot")
        child = begin_run(place, repair.after, reasons, skill, lineage)
    except (TutorError, OSError) as error:
        reason = error.text if isinstance(error, TutorError) else Text.same(str(error))
        return Deed(text=_fill(_NOT_STARTED, repair.fix, reason=reason))
    if folder.stop_marker.exists():
        # A stop that came while the repair was being started is meant for what it started.
        child.stop_marker.touch()
    return Deed(text=_fill(_STARTED, repair.fix, child=child.name), child=child.name)


def _fill(words: Text, fix: Fix, **values: Text | str) -> Text:
    """Fill in the fix and other figures, each in its language."""
    en = {key: value if isinstance(value, str) else value.en for key, value in values.items()}
    zh = {key: value if isinstance(value, str) else value.zh for key, value in values.items()}
    return Text(
        en=words.en.format(title=fix.title.en.rstrip("."), **en),
        zh=words.zh.format(title=fix.title.zh.rstrip("。"), **zh),
    )
