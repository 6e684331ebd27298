"""The whole loop in the terminal: facts, plan, run, repair, result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.actions.demo import demo_request
from tutor_agent.actions.fix import apply_fix, propose_fix
from tutor_agent.actions.plan import gather, make_plan
from tutor_agent.actions.run import start_run
from tutor_agent.cli.live import follow
from tutor_agent.cli.render import (
    advice_lines,
    data_lines,
    machine_lines,
    model_lines,
    proposal_lines,
    result_lines,
)
from tutor_agent.cli.state import agree
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.cli.output import Output
    from tutor_agent.runs.view import RunView

_REPAIRS = 3


def run_loop(
    context: Context, output: Output, *, data: str | None, broken: str | None, yes: bool
) -> int:
    """Take the person through one whole run; 0 when it ends with a result."""
    request = demo_request(context, data, broken, output.say)
    facts = gather(context, request)
    _heading(output, Text(en="1 What is here", zh="1 了解情况"))
    output.lines(machine_lines(facts.machine, output.language))
    output.lines(model_lines(facts.model, output.language))
    output.lines(data_lines(facts.data, output.language))
    advice = make_plan(context, request)
    _heading(output, Text(en="2 The plan", zh="2 计划"))
    output.lines(advice_lines(advice, output.language))
    if not agree(Text(en="Start this run?", zh="启动这个训练吗？"), output, yes):
        return 1
    _heading(output, Text(en="3 The run", zh="3 训练"))
    view = start_run(context, advice.plan, advice.why, output.say)
    view = follow(view.name, view.path, output)
    view = _repair(context, output, view, yes)
    _heading(output, Text(en="4 The result", zh="4 结果"))
    output.lines(result_lines(view, output.language))
    output.say(Text(en=f"  everything is in {view.path}", zh=f"  全部文件在 {view.path}"))
    return 0 if view.state == "completed" else 1


def _repair(context: Context, output: Output, view: RunView, yes: bool) -> RunView:
    for _ in range(_REPAIRS):
        if view.state == "completed" or not view.findings:
            return view
        _heading(output, Text(en="What went wrong, and the repair", zh="哪里出了问题，怎样修复"))
        try:
            proposal = propose_fix(context, view.name)
        except NotPossibleError as error:
            output.say(error.text)
            return view
        output.lines(proposal_lines(proposal, output.language))
        if not agree(Text(en="Apply this repair?", zh="应用这个修复吗？"), output, yes):
            return view
        view = apply_fix(context, proposal, output.say)
        view = follow(view.name, view.path, output)
    return view


def _heading(output: Output, words: Text) -> None:
    output.say()
    output.say(words, bold=True)
