"""The command that reads an old training script."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tutor_agent.cli.output import Output
from tutor_agent.cli.state import State, json_flag
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.actions.migrate import Migration
    from tutor_agent.core.text import Language

_MARKS = {
    "breaks": ("✖", Text(en="breaks today", zh="现在会出错")),
    "wrong": ("!", Text(en="goes wrong without a word", zh="不报错但结果不对")),
    "unwise": ("·", Text(en="unwise", zh="不妥")),
    "unknown": ("?", Text(en="cannot be read", zh="读不出来")),
    "note": ("i", Text(en="to know", zh="提示")),
}
_NEEDS = {
    "model": Text(en="Give the model: --model NAME.", zh="请给出模型：--model 名称。"),
    "data": Text(en="Give the data file: --data FILE.", zh="请给出数据文件：--data 文件。"),
}
_CLEAN = Text(en="Nothing in it breaks today.", zh="其中没有现在会出错的地方。")
_PLAN = Text(en="The plan that does the same:", zh="效果相同的计划：")
_FROM = Text(en="line {line}", zh="第 {line} 行")


@click.command()
@click.argument("script", type=click.Path())
@click.option(
    "-o", "out", type=click.Path(dir_okay=False), help="Write plan.yaml and why.yaml there."
)
@click.option("--model", help="A model instead of the script's.")
@click.option("--data", help="A data file instead of the script's.")
@click.option("--machine", help='Another machine, such as "4xA100-80G".')
@click.option("--name", help="Name of the plan.")
@json_flag
@click.pass_obj
def migrate(
    state: State, *, script: str, out: str | None, as_json: bool, **options: str | None
) -> int:
    """Read an old Trainer script: what breaks today, and the plan that does the same."""
    from tutor_agent.actions.migrate import MigrateRequest
    from tutor_agent.actions.migrate import migrate as read
    from tutor_agent.core.advice import save_why

    output = Output(state.language, as_json)
    made = read(state.context(), MigrateRequest.parse({"script": script, **options}, "migrate"))
    if as_json:
        output.emit(migration_json(made))
    else:
        output.lines(migration_lines(made, state.language))
    if out and made.plan is not None:
        path = Path(out)
        made.plan.save(path)
        beside = "why.yaml" if path.stem == "plan" else f"{path.stem}.why.yaml"
        save_why(made.why, path.with_name(beside))
        output.say(f"→ {path}")
    return 0


def migration_json(made: Migration) -> dict[str, Any]:
    """Return findings, plan, reasons and what is missing (see ARCHITECTURE.md)."""
    from tutor_agent.cli.machine_readable import forecast_json

    return {
        "script": made.script,
        "kind": made.kind,
        "findings": [each.model_dump(mode="json") for each in made.findings],
        "plan": made.plan.model_dump(mode="json") if made.plan else None,
        "why": {path: why.model_dump(mode="json") for path, why in made.why.items()},
        "lines": made.lines,
        "forecast": forecast_json(made.advice.forecast) if made.advice else None,
        "warnings": [each.model_dump() for each in made.warnings],
        "needs": list(made.needs),
    }


def migration_lines(made: Migration, language: Language) -> Iterator[str]:
    """Describe what was found and the plan, value by value with its line."""
    from tutor_agent.cli.render import advice_lines, plan_lines

    if not any(each.severity == "breaks" for each in made.findings):
        yield _CLEAN.pick(language)
    last = ""
    for each in made.findings:
        mark, title = _MARKS[each.severity]
        if each.severity != last:
            yield f"{title.pick(language)}:" if language == "en" else f"{title.zh}："
            last = each.severity
        yield f"  {mark} {each.where.pick(language)}  {each.code}"
        yield f"      {each.text.pick(language)}"
        yield f"      → {each.todo.pick(language)}"
    if made.plan is not None:
        yield _PLAN.pick(language)
        if made.advice is not None:
            yield from advice_lines(made.advice, language)
        else:
            yield from plan_lines(made.plan, language)
            yield from (f"  ! {each.pick(language)}" for each in made.warnings)
        yield from _value_lines(made, language)
    for need in made.needs:
        yield f"  ? {_NEEDS[need].pick(language)}"


def _value_lines(made: Migration, language: Language) -> Iterator[str]:
    from tutor_agent.core.changes import flatten

    values = flatten(made.plan) if made.plan else {}
    for path, line in sorted(made.lines.items(), key=lambda item: item[1]):
        why = made.why.get(path)
        yield f"  {path} = {values.get(path)}  ({_FROM.format(line=line).pick(language)})"
        if why is not None and why.alternative is not None:
            yield f"      {why.alternative.pick(language)}"


COMMANDS = (migrate,)
