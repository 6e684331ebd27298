"""See, stop, resume and compare runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.changes import PlanChange, diff
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, NotPossibleError
from tutor_agent.core.metric_names import METRICS, is_better
from tutor_agent.runs import control
from tutor_agent.runs.folder import ACTIVE
from tutor_agent.runs.view import RunView, list_runs, read_run

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context


class Comparison(Contract):
    """Two runs side by side."""

    first: RunView
    """The run named first."""
    second: RunView
    """The run named second."""
    change: PlanChange
    """How the plan of the second differs from the first."""
    better: str | None
    """Name of the run with the lower held-out loss; None when that cannot be said."""
    better_by: dict[str, str | None] = {}
    """Name of the better run by each metric that both have; None when they are equal."""


def show_run(context: Context, name: str | None = None) -> RunView:
    """Return a run by name, by default the newest one.

    Raises:
        NotFoundError: No run of that name, or none at all.
    """
    if name:
        return read_run(control.find_run(context.runs, name).path)
    runs = all_runs(context)
    if not runs:
        raise NotFoundError(
            f"There is no run in {str(context.runs)!r} yet. Start one: tutor run plan.yaml.",
            f"{str(context.runs)!r} 里还没有运行。可以这样启动：tutor run plan.yaml。",
        )
    return runs[0]


def all_runs(context: Context) -> tuple[RunView, ...]:
    """Return the runs of the workspace, newest first."""
    return list_runs(context.runs)


def stop_run(context: Context, name: str | None = None) -> RunView:
    """Ask a run to save a checkpoint and end; returns when it has."""
    view = show_run(context, name)
    control.stop(control.find_run(context.runs, view.name))
    return show_run(context, view.name)


def resume_run(context: Context, name: str | None = None) -> RunView:
    """Go on from the last good checkpoint of a stopped, failed or lost run.

    Raises:
        NotPossibleError: It is under way or complete, or a repair of it is under way.
    """
    view = show_run(context, name)
    working = next((t for t in view.trials if t.parent == view.name and t.state in ACTIVE), None)
    if working is not None:
        raise NotPossibleError(
            f"{view.name!r} is being repaired: {working.run!r} is under way. Stop that one first: tutor stop "
            f"{working.run}.",
            f"{view.name!r} 正在修复：{working.run!r} 正在运行。请先停止它：tutor stop {working.run}。",
        )
    control.resume(control.find_run(context.runs, view.name))
    return show_run(context, view.name)


def compare_runs(context: Context, first: str, second: str) -> Comparison:
    """Lay two runs side by side: what was changed, and which is better on held-out rows."""
    a, b = show_run(context, first), show_run(context, second)
    return Comparison(
        first=a,
        second=b,
        change=diff(a.plan, b.plan),
        better=_better(a, b),
        better_by=_better_by(a, b) if _same_rows(a, b) else {},
    )


def _better(a: RunView, b: RunView) -> str | None:
    if not _same_rows(a, b) or a.held_out_after is None or b.held_out_after is None:
        return None
    return a.name if a.held_out_after <= b.held_out_after else b.name


def _better_by(a: RunView, b: RunView) -> dict[str, str | None]:
    """Return the better run by each metric; those of written answers need as many answers."""
    second = {metric.name: metric.after for metric in b.metrics}
    found: dict[str, str | None] = {}
    for metric in a.metrics:
        mine, other = metric.after, second.get(metric.name)
        written = METRICS[metric.name].answers
        if mine is None or other is None or (written and a.answered != b.answered):
            continue
        better = a.name if is_better(metric.name, mine, other) else b.name
        found[metric.name] = None if mine == other else better
    return found


def _same_rows(a: RunView, b: RunView) -> bool:
    """A verdict needs the same held-out rows: the same file, share, limit and seed."""
    same = (a.plan.data.test, a.plan.data.train, a.plan.data.holdout, a.plan.data.limit)
    other = (b.plan.data.test, b.plan.data.train, b.plan.data.holdout, b.plan.data.limit)
    return same == other and a.plan.optim.seed == b.plan.optim.seed
