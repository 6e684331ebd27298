"""Tools that find out what is wrong and mend it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.actions import diagnose as diagnosing
from tutor_agent.actions import fix as fixing
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.brain.tools.planning import say_change
from tutor_agent.brain.tools.running import RunName, run_data
from tutor_agent.brain.wording import listed
from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.findings import Diagnosis, Finding


class DiagnoseText(Contract):
    """Arguments of `diagnose_text`."""

    words: str
    """The pasted log, traceback or description, unchanged."""
    symptom: str = ""
    """What the person says about it."""


class DiagnoseFile(Contract):
    """Arguments of `diagnose_file`."""

    path: str
    """A log file, or an output folder of a training tool."""
    symptom: str = ""
    """What the person says about it."""


class ProposeFix(Contract):
    """Arguments of `propose_fix` and `apply_fix`."""

    run: str | None = None
    """Name of the run; the newest when left out."""
    cause: str | None = None
    """Slug of the fault to repair; the likeliest when left out."""
    fix: str | None = None
    """Id of the fix; the best one when left out."""


class ExplainFault(Contract):
    """Arguments of `explain_fault`."""

    fault: str
    """Slug of a fault."""


def say_diagnosis(diagnosis: Diagnosis) -> Text:
    """Say the verdict, with the best finding and its first evidence."""
    note = [diagnosis.note] if diagnosis.note else []
    if diagnosis.verdict == "healthy":
        return listed([Text(en="Nothing is wrong here.", zh="这里没有问题。"), *note])
    if not diagnosis.findings:
        return listed([Text(en="No known fault matches.", zh="没有匹配到已知的故障。"), *note])
    return say_finding(diagnosis.findings[0])


def say_finding(finding: Finding) -> Text:
    """Say a fault and its first evidence."""
    sure = round(finding.confidence * 100)
    head = Text(
        en=f"{finding.title.en.rstrip('.')} ({sure} % sure).",
        zh=f"{finding.title.zh.rstrip('。')}（把握 {sure}%）。",
    )
    return listed([head, *finding.evidence[:1]])


def _finding_data(desk: Desk, finding: Finding) -> dict[str, Any]:
    data = plain(finding, desk.context.language, ("fixes",))
    fixes = [plain(fix, desk.context.language) for fix in finding.fixes]
    return {**data, "fixes": fixes}


def _diagnosis_result(desk: Desk, diagnosis: Diagnosis, **more: Any) -> ToolResult:
    data = {
        "verdict": diagnosis.verdict,
        "findings": [_finding_data(desk, finding) for finding in diagnosis.findings[:4]],
        "story": [text.pick(desk.context.language) for text in diagnosis.story],
        "note": diagnosis.note.pick(desk.context.language) if diagnosis.note else None,
        **more,
    }
    return ToolResult(data, diagnosis, say_diagnosis(diagnosis))


def _diagnose_text(desk: Desk, arguments: DiagnoseText) -> ToolResult:
    found = diagnosing.diagnose_text(desk.context, arguments.words, arguments.symptom)
    return _diagnosis_result(desk, found)


def _diagnose_file(desk: Desk, arguments: DiagnoseFile) -> ToolResult:
    found = diagnosing.diagnose_path(desk.context, arguments.path, arguments.symptom)
    return _diagnosis_result(desk, found, path=arguments.path)


def _diagnose_run(desk: Desk, arguments: RunName) -> ToolResult:
    found = diagnosing.diagnose_run(desk.context, arguments.run)
    return _diagnosis_result(desk, found, run=arguments.run)


def _propose(desk: Desk, arguments: ProposeFix) -> fixing.FixProposal:
    return fixing.propose_fix(desk.context, arguments.run, arguments.cause, arguments.fix)


def say_proposal(proposal: fixing.FixProposal) -> Text:
    """Say what a repair does, what it changes and where it begins."""
    begin = (
        Text(
            en="The repaired run begins from the last good checkpoint.",
            zh="修复后的训练从最近一个完好的检查点继续。",
        )
        if proposal.resume_from
        else Text(en="The repaired run begins anew.", zh="修复后的训练从头开始。")
    )
    changed = say_change(proposal.change, proposal.before)
    return listed([proposal.finding.title, proposal.fix.title, changed, begin])


def _propose_fix(desk: Desk, arguments: ProposeFix) -> ToolResult:
    proposal = _propose(desk, arguments)
    data = {
        "run": proposal.run,
        "cause": proposal.finding.cause,
        "finding": _finding_data(desk, proposal.finding),
        "story": [text.pick(desk.context.language) for text in proposal.story],
        "fix": plain(proposal.fix, desk.context.language),
        "change": [e.model_dump(mode="json") for e in proposal.change.entries],
        "changed": say_change(proposal.change, proposal.before).pick(desk.context.language),
        "resumes": proposal.resume_from is not None,
    }
    return ToolResult(data, proposal, say_proposal(proposal))


def _apply_fix(desk: Desk, arguments: ProposeFix) -> ToolResult:
    proposal = _propose(desk, arguments)
    view = fixing.apply_fix(desk.context, proposal, desk.report)
    summary = Text(
        en=f"Started {view.name}, the repaired {proposal.run}.",
        zh=f"已启动 {view.name}，即修复后的 {proposal.run}。",
    )
    return ToolResult({**run_data(desk, view), "repairs": proposal.run}, view, summary)


def _explain_fault(desk: Desk, arguments: ExplainFault) -> ToolResult:
    fault = diagnosing.explain_fault(arguments.fault)
    language = desk.context.language
    data = {
        "fault": fault.slug,
        "title": fault.title.pick(language),
        "body": fault.body.pick(language),
    }
    return ToolResult(data, fault, fault.title)


MENDING = (
    Tool(
        name="diagnose_text",
        title=Text(en="Read the message", zh="分析这段报错"),
        description="Name the fault in a pasted log, traceback or description of trouble, with evidence and fixes.",
        parameters=DiagnoseText,
        run=_diagnose_text,
    ),
    Tool(
        name="diagnose_file",
        title=Text(en="Read the log", zh="分析日志文件"),
        description="Name the fault in a log file or output folder of any training tool.",
        parameters=DiagnoseFile,
        run=_diagnose_file,
        paths=("path",),
    ),
    Tool(
        name="diagnose_run",
        title=Text(en="Examine the run", zh="诊断运行"),
        description="Name what is wrong with one of our runs, with evidence and fixes.",
        parameters=RunName,
        run=_diagnose_run,
    ),
    Tool(
        name="propose_fix",
        title=Text(en="Work out a repair", zh="拟定修复方案"),
        description="Choose the best fix for a run and show which plan fields it changes. Starts nothing.",
        parameters=ProposeFix,
        run=_propose_fix,
    ),
    Tool(
        name="apply_fix",
        title=Text(en="Repair and go on", zh="修复并继续"),
        description="Start the repaired plan as a new run. Needs the person's approval.",
        parameters=ProposeFix,
        run=_apply_fix,
        approval=True,
        preview=_propose_fix,
    ),
    Tool(
        name="explain_fault",
        title=Text(en="Open the fault card", zh="查看故障说明"),
        description="What a fault means, why it happens, how to be sure, how to prevent it.",
        parameters=ExplainFault,
        run=_explain_fault,
    ),
)
