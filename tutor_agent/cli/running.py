"""Commands that do: run, runs, show, stop, resume, fix, compare, watch, demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tutor_agent.cli.state import State, agree, json_flag, yes_flag
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.cli.output import Output
    from tutor_agent.runs.view import RunView

run_name = click.argument("name", required=False)


@click.command()
@click.argument("plan_path", type=click.Path())
@click.option("--follow/--no-follow", "following", default=None, help="Watch until it ends.")
@yes_flag
@json_flag
@click.pass_obj
def run(state: State, plan_path: str, following: bool | None, yes: bool, as_json: bool) -> int:
    """Start a plan as a run in the background."""
    from tutor_agent.actions.run import start_run
    from tutor_agent.cli.render import plan_lines
    from tutor_agent.core.advice import load_why
    from tutor_agent.core.plan import Plan

    output = state.output(as_json)
    path = Path(plan_path)
    plan = Plan.load(path)
    beside = path.with_name(f"{path.stem}.why.yaml")
    why = load_why(beside if beside.is_file() else path.with_name("why.yaml"))
    output.lines(plan_lines(plan, state.language))
    if not agree(Text(en="Start this run?", zh="启动这个训练吗？"), output, yes):
        return 1
    view = start_run(state.context(), plan, why, output.say)
    return _after_start(state, view, output, bool(following))


def _after_start(state: State, view: RunView, output: Output, following: bool) -> int:
    from tutor_agent.cli.live import follow
    from tutor_agent.cli.render import result_lines

    output.say(Text(en=f"Run {view.name} in {view.path}", zh=f"运行 {view.name}，位于 {view.path}"))
    if following:
        view = follow(view.name, view.path, output)
        output.lines(result_lines(view, state.language))
    else:
        output.say(
            Text(
                en=f"  watch it: tutor watch {view.path}", zh=f"  查看进度：tutor watch {view.path}"
            )
        )
    if output.as_json:
        output.emit(view.model_dump(mode="json"))
    return 1 if view.state in {"failed", "halted", "lost"} else 0


@click.command()
@json_flag
@click.pass_obj
def runs(state: State, as_json: bool) -> int:
    """The runs of this workspace, newest first."""
    from tutor_agent.actions.runs import all_runs
    from tutor_agent.cli.render import figure

    output, found = state.output(as_json), all_runs(state.context())
    if as_json:
        output.emit({"runs": [view.model_dump(mode="json") for view in found]})
        return 0
    for view in found:
        output.say(
            f"{view.name:32} {view.state:10} {view.step:>6}/{view.total_steps or '?':<6} "
            f"{figure(view.held_out_before)} → {figure(view.held_out_after)}{_kin(view)}"
        )
    if not found:
        output.say(Text(en="No runs here yet.", zh="这里还没有运行。"))
    return 0


def _kin(view: RunView) -> str:
    """Say which run it repairs, how that repair does, and which one repairs it."""
    trial = next((t for t in view.trials if t.run == view.name), None)
    mark = {"gone": " ✓", "back": " ✗"}.get(trial.outcome, "") if trial else ""
    parent = f"  ↳ {view.parent}{mark}" if view.parent else ""
    return parent + (f"  → {view.repaired_by}" if view.repaired_by else "")


def _show(state: State, view: RunView, as_json: bool) -> int:
    from tutor_agent.cli.render import run_lines

    output = state.output(as_json)
    if as_json:
        output.emit(view.model_dump(mode="json"))
    else:
        output.lines(run_lines(view, state.language))
    return 0


@click.command()
@run_name
@json_flag
@click.pass_obj
def show(state: State, name: str | None, as_json: bool) -> int:
    """A run: state, figures, findings, result."""
    from tutor_agent.actions.runs import show_run

    return _show(state, show_run(state.context(), name), as_json)


@click.command()
@run_name
@json_flag
@click.pass_obj
def stop(state: State, name: str | None, as_json: bool) -> int:
    """Save a checkpoint and end a run."""
    from tutor_agent.actions.runs import stop_run

    return _show(state, stop_run(state.context(), name), as_json)


@click.command()
@run_name
@click.option("--follow/--no-follow", "following", default=False, help="Watch until it ends.")
@json_flag
@click.pass_obj
def resume(state: State, name: str | None, following: bool, as_json: bool) -> int:
    """Go on from the last good checkpoint."""
    from tutor_agent.actions.runs import resume_run

    return _after_start(state, resume_run(state.context(), name), state.output(as_json), following)


@click.command()
@run_name
@click.option("--fix", "fix_id", help="Another fix than the first one.")
@click.option("--cause", help="Which of the findings.")
@click.option("--follow/--no-follow", "following", default=False, help="Watch until it ends.")
@yes_flag
@json_flag
@click.pass_obj
def fix(
    state: State,
    *,
    name: str | None,
    fix_id: str | None,
    cause: str | None,
    following: bool,
    yes: bool,
    as_json: bool,
) -> int:
    """Repair a run: show the change, ask, and start the repaired run."""
    from tutor_agent.actions.fix import apply_fix, propose_fix
    from tutor_agent.cli.render import proposal_lines

    output, context = state.output(as_json), state.context()
    proposal = propose_fix(context, name, cause, fix_id)
    output.lines(proposal_lines(proposal, state.language))
    if not agree(Text(en="Apply this repair?", zh="应用这个修复吗？"), output, yes):
        return 1
    return _after_start(state, apply_fix(context, proposal, output.say), output, following)


@click.command()
@click.argument("first")
@click.argument("second")
@json_flag
@click.pass_obj
def compare(state: State, first: str, second: str, as_json: bool) -> int:
    """Two runs side by side: what was changed, and which is better on held-out rows."""
    from tutor_agent.actions.runs import compare_runs
    from tutor_agent.cli.render import better_by_lines, change_lines, run_lines

    output = state.output(as_json)
    result = compare_runs(state.context(), first, second)
    if as_json:
        output.emit(result.model_dump(mode="json"))
        return 0
    for view in (result.first, result.second):
        output.lines(run_lines(view, state.language))
    output.lines(change_lines(result.first.plan, result.change))
    verdict = result.better or Text(
        en="cannot be said (different held-out rows, or no final figure)",
        zh="无法判断（留出数据不同，或还没有最终结果）",
    ).pick(state.language)
    output.say(Text(en=f"better: {verdict}", zh=f"更好的是：{verdict}"))
    output.lines(better_by_lines(result.better_by, state.language))
    return 0


@click.command()
@click.argument("path", type=click.Path())
@click.option("--once", is_flag=True, help="Say what it shows now, and end.")
@json_flag
@click.pass_obj
def watch(state: State, path: str, once: bool, as_json: bool) -> int:
    """Follow a run of ours, or any tool's log, live.

    PATH is a log, or the folder that a tool writes into; of several runs in it the newest is followed. A log
    that is not there yet is waited for. It ends with the run, or with Ctrl-C. Exit codes: 0 no fault,
    1 a run of ours failed, 2 nothing to read, 3 a fault in another tool's log, 130 Ctrl-C.
    """
    from tutor_agent.actions.watch import our_run
    from tutor_agent.cli.live import follow
    from tutor_agent.cli.render import result_lines
    from tutor_agent.cli.tail import LogPrinter

    output, place = state.output(as_json), Path(path).expanduser()
    ours = None if once else our_run(place)
    if ours is None:
        return LogPrinter(place, output).follow(once=once)
    view = follow(ours.name, str(ours), output)
    output.lines(result_lines(view, state.language))
    if as_json:
        output.emit(view.model_dump(mode="json"))
    return 1 if view.state in {"failed", "halted", "lost"} else 0


@click.command()
@click.option("--data", help="Your own data file in place of the bundled example.")
@click.option(
    "--break", "broken", type=click.Choice(["lr"]), help="Put a fault in and watch the repair."
)
@yes_flag
@click.pass_obj
def demo(state: State, data: str | None, broken: str | None, yes: bool) -> int:
    """The whole loop on a small real model, about five minutes on a CPU."""
    from tutor_agent.cli.loop import run_loop

    return run_loop(state.context(), state.output(), data=data, broken=broken, yes=yes)


COMMANDS = (run, runs, show, stop, resume, fix, compare, watch, demo)
