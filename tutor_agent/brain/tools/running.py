"""Tools that run: start, show, list, compare, stop, resume."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.actions import run as starting
from tutor_agent.actions import runs as running
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.brain.tools.planning import say_change, say_plan
from tutor_agent.brain.tools.sheets import load_sheet
from tutor_agent.brain.wording import duration, listed, number
from tutor_agent.core.contract import Contract
from tutor_agent.core.metric_names import METRICS
from tutor_agent.core.text import Text
from tutor_agent.runs.report import metric_verdict, repair_verdict

if TYPE_CHECKING:
    from tutor_agent.runs.view import RunView

STATES = {
    "starting": Text(en="starting", zh="正在启动"),
    "running": Text(en="running", zh="训练中"),
    "stopping": Text(en="stopping", zh="正在停止"),
    "completed": Text(en="completed", zh="已完成"),
    "halted": Text(en="halted by the guard", zh="已被守护暂停"),
    "stopped": Text(en="stopped", zh="已停止"),
    "failed": Text(en="failed", zh="失败"),
    "lost": Text(en="lost", zh="进程丢失"),
}


class StartRun(Contract):
    """Arguments of `start_run`."""

    plan: str | None = None
    """Name of the plan; the latest when left out."""


class RunName(Contract):
    """Arguments of tools about one run."""

    run: str | None = None
    """Name of the run; the newest when left out."""


class ListRuns(Contract):
    """Arguments of `list_runs`: none."""


class CompareRuns(Contract):
    """Arguments of `compare_runs`."""

    first: str
    """Name of a run."""
    second: str
    """Name of another run."""


def say_run(view: RunView) -> Text:
    """Describe where a run is and how it does."""
    state = STATES[view.state]
    steps = f"{view.step} / {view.total_steps}" if view.total_steps else f"{view.step}"
    parts = [
        Text(
            en=f"{view.name}: {state.en}, step {steps}.",
            zh=f"{view.name}：{state.zh}，第 {steps} 步。",
        )
    ]
    figures = [
        (Text(en="loss", zh="训练损失"), view.loss),
        (Text(en="validation loss", zh="验证损失"), view.eval_loss),
    ]
    known = [(label, number(value)) for label, value in figures if value is not None]
    if known:
        parts.append(
            Text(
                en=", ".join(f"{label.en} {value}" for label, value in known).capitalize() + ".",
                zh="，".join(f"{label.zh} {value}" for label, value in known) + "。",
            )
        )
    if view.state == "running" and view.seconds_left:
        left = duration(view.seconds_left / 3600)
        parts.append(Text(en=f"About {left.en} left.", zh=f"大约还需 {left.zh}。"))
    return listed([*parts, *say_outcome(view)])


def say_outcome(view: RunView) -> list[Text]:
    """Say how the held-out loss changed, and why the run ended."""
    said: list[Text] = []
    if view.held_out_before is not None and view.held_out_after is not None:
        before, after = number(view.held_out_before), number(view.held_out_after)
        better = view.held_out_after < view.held_out_before
        said.append(
            Text(
                en=f"Held-out loss {before} before, {after} after: {'better' if better else 'not better'}.",
                zh=f"留出集损失：训练前 {before}，训练后 {after}，{'变好了' if better else '没有变好'}。",
            )
        )
    if (measured := metric_verdict(view.metrics, view.answered)) is not None:
        said.append(measured)
    if (repaired := repair_verdict(view)) is not None:
        said.append(repaired)
    if view.reason is not None and view.state not in {"running", "starting", "completed"}:
        said.append(view.reason)
    if view.autopilot is not None:
        said.append(view.autopilot)
    return said


def run_data(desk: Desk, view: RunView) -> dict[str, Any]:
    """Return what a model may see of a run; rows of the person's data only when allowed."""
    hidden = ("path",) if desk.share_rows else ("path", "samples")
    return plain(view, desk.context.language, hidden)


def run_result(desk: Desk, view: RunView) -> ToolResult:
    """Wrap a run."""
    return ToolResult(run_data(desk, view), view, say_run(view))


def _start_run(desk: Desk, arguments: StartRun) -> ToolResult:
    sheet = load_sheet(desk.context.workspace, arguments.plan)
    view = starting.start_run(desk.context, sheet.plan, sheet.why, desk.report)
    summary = Text(en=f"Started {view.name}.", zh=f"已启动 {view.name}。")
    return ToolResult(run_data(desk, view), view, summary)


def _preview_start(desk: Desk, arguments: StartRun) -> ToolResult:
    sheet = load_sheet(desk.context.workspace, arguments.plan)
    return ToolResult(
        plain(sheet.plan, desk.context.language), sheet.advice, say_plan(sheet.advice)
    )


def _show_run(desk: Desk, arguments: RunName) -> ToolResult:
    return run_result(desk, running.show_run(desk.context, arguments.run))


def _list_runs(desk: Desk, arguments: ListRuns) -> ToolResult:
    del arguments
    views = running.all_runs(desk.context)
    rows = [
        {
            "name": v.name,
            "state": v.state,
            "step": v.step,
            "total_steps": v.total_steps,
            "held_out_before": v.held_out_before,
            "held_out_after": v.held_out_after,
            "parent": v.parent,
        }
        for v in views
    ]
    if not views:
        none = Text(en="No runs here yet.", zh="这里还没有运行。")
        return ToolResult({"runs": []}, views, none)
    named = [(v.name, STATES[v.state]) for v in views[:5]]
    summary = Text(
        en="Runs, newest first: "
        + ", ".join(f"{name} ({state.en})" for name, state in named)
        + ".",
        zh="运行（新的在前）："
        + "、".join(f"{name}（{state.zh}）" for name, state in named)
        + "。",
    )
    return ToolResult({"runs": rows}, views, summary)


def _compare_runs(desk: Desk, arguments: CompareRuns) -> ToolResult:
    compared = running.compare_runs(desk.context, arguments.first, arguments.second)
    changed = say_change(compared.change, compared.first.plan)
    verdict = (
        Text(
            en=f"{compared.better} has the lower held-out loss.",
            zh=f"{compared.better} 的留出集损失更低。",
        )
        if compared.better
        else Text(
            en="Their held-out figures cannot be compared.", zh="两者的留出集指标无法直接比较。"
        )
    )
    data = {
        "first": run_data(desk, compared.first),
        "second": run_data(desk, compared.second),
        "change": [e.model_dump(mode="json") for e in compared.change.entries],
        "better": compared.better,
        "better_by": compared.better_by,
    }
    changes = Text(en=f"Changed: {changed.en}", zh=f"差异：{changed.zh}")
    parts = [verdict, *_by_metric(compared)]
    parts += [changes] if compared.change.entries else []
    return ToolResult(data, compared, listed(parts))


def _by_metric(compared: running.Comparison) -> list[Text]:
    """Say which run is better by the task's metrics."""
    named = [(METRICS[name].title, run) for name, run in compared.better_by.items() if run]
    if not named:
        return []
    return [
        Text(
            en="By metric: " + ", ".join(f"{title.en} {run}" for title, run in named) + ".",
            zh="各指标更好的是：" + "，".join(f"{title.zh} {run}" for title, run in named) + "。",
        )
    ]


def _stop_run(desk: Desk, arguments: RunName) -> ToolResult:
    return run_result(desk, running.stop_run(desk.context, arguments.run))


def _resume_run(desk: Desk, arguments: RunName) -> ToolResult:
    return run_result(desk, running.resume_run(desk.context, arguments.run))


RUNNING = (
    Tool(
        name="start_run",
        title=Text(en="Start the run", zh="启动训练"),
        description="Start a plan as a training run in the background. Needs the person's approval.",
        parameters=StartRun,
        run=_start_run,
        approval=True,
        preview=_preview_start,
    ),
    Tool(
        name="show_run",
        title=Text(en="Look at the run", zh="查看运行"),
        description="Where a run is: state, step, losses, held-out loss before and after, findings.",
        parameters=RunName,
        run=_show_run,
    ),
    Tool(
        name="list_runs",
        title=Text(en="List the runs", zh="列出运行"),
        description="All runs of the workspace with their state, newest first.",
        parameters=ListRuns,
        run=_list_runs,
    ),
    Tool(
        name="compare_runs",
        title=Text(en="Compare two runs", zh="比较两次运行"),
        description="How the plans of two runs differ and which has the lower held-out loss.",
        parameters=CompareRuns,
        run=_compare_runs,
    ),
    Tool(
        name="stop_run",
        title=Text(en="Stop the run", zh="停止训练"),
        description="Save a checkpoint and stop a run. Needs the person's approval.",
        parameters=RunName,
        run=_stop_run,
        approval=True,
        preview=_show_run,
    ),
    Tool(
        name="resume_run",
        title=Text(en="Resume the run", zh="继续训练"),
        description="Go on from the last good checkpoint of a stopped, failed or lost run. Needs approval.",
        parameters=RunName,
        run=_resume_run,
        approval=True,
        preview=_show_run,
    ),
)
