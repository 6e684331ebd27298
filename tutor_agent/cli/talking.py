"""Commands that look and answer: ask, inspect, diagnose, explain, check, skills."""

from __future__ import annotations

import sys
from typing import Any

import click

from tutor_agent.cli.state import State, json_flag


@click.command()
@click.argument("question", nargs=-1, required=True)
@json_flag
@click.pass_obj
def ask(state: State, question: tuple[str, ...], as_json: bool) -> int:
    """One answer, and the cards it rests on."""
    from tutor_agent.brain.ask import ask as ask_brain

    output = state.output(as_json)
    answer = ask_brain(" ".join(question), state.context())
    if as_json:
        output.emit(answer.model_dump(mode="json"))
    else:
        output.say(answer.answer)
        for line in answer.suggestions:
            output.say(f"  → {line}")
    return 0


@click.group()
def inspect() -> None:
    """Look at the machine, a model or a data file."""


@inspect.command("machine")
@click.argument("words", required=False)
@json_flag
@click.pass_obj
def inspect_machine(state: State, words: str | None, as_json: bool) -> int:
    """This machine, or one in words such as 4xA100-80G."""
    from tutor_agent.actions.inspect import see_machine
    from tutor_agent.cli.render import machine_lines

    return _facts(state, see_machine(state.context(), words), machine_lines, as_json)


@inspect.command("model")
@click.argument("source")
@json_flag
@click.pass_obj
def inspect_model(state: State, source: str, as_json: bool) -> int:
    """A model: local folder, cache or catalogue; weights are never loaded."""
    from tutor_agent.actions.inspect import see_model
    from tutor_agent.cli.render import model_lines

    return _facts(state, see_model(state.context(), source), model_lines, as_json)


@inspect.command("data")
@click.argument("path")
@json_flag
@click.pass_obj
def inspect_data(state: State, path: str, as_json: bool) -> int:
    """A data file: format, rows, lengths, broken rows by line."""
    from tutor_agent.actions.inspect import see_data
    from tutor_agent.cli.render import data_lines

    return _facts(state, see_data(state.context(), path), data_lines, as_json)


def _facts(state: State, facts: Any, lines: Any, as_json: bool) -> int:
    output = state.output(as_json)
    if as_json:
        output.emit(facts.model_dump(mode="json"))
    else:
        output.lines(lines(facts, state.language))
    return 0


@click.command()
@click.argument("path", required=False)
@click.option("--symptom", default="", help="What you see, in your words.")
@click.option("--config", help="YAML or JSON file with the settings of the run.")
@json_flag
@click.pass_obj
def diagnose(
    state: State, path: str | None, symptom: str, config: str | None, as_json: bool
) -> int:
    """Post-mortem of any tool's log; exit code 3 when a fault is found."""
    from tutor_agent.actions.diagnose import diagnose_path, diagnose_text
    from tutor_agent.cli.machine_readable import diagnosis_json
    from tutor_agent.cli.render import diagnosis_lines

    context, output = state.context(), state.output(as_json)
    if path in (None, "-"):
        words = sys.stdin.read() if path == "-" or not symptom else ""
        result = diagnose_text(context, words, symptom)
    else:
        result = diagnose_path(context, str(path), symptom, config)
    if as_json:
        output.emit(diagnosis_json(result))
    else:
        output.lines(diagnosis_lines(result))
    return 3 if result.verdict == "fault" else 0


@click.command()
@click.argument("fault")
@json_flag
@click.pass_obj
def explain(state: State, fault: str, as_json: bool) -> int:
    """What a fault means, why it happens, how to be sure, how to prevent it."""
    from tutor_agent.actions.diagnose import explain_fault

    card, output = explain_fault(fault), state.output(as_json)
    if as_json:
        output.emit(card.model_dump(mode="json"))
    else:
        output.say(card.title, bold=True)
        output.say(card.body)
    return 0


@click.command()
@json_flag
@click.pass_obj
def check(state: State, as_json: bool) -> int:
    """Is this installation sound?"""
    from tutor_agent.actions.check import check_installation

    output = state.output(as_json)
    items = check_installation(state.context())
    if as_json:
        output.emit({"good": all(i.good for i in items), "items": [i.model_dump() for i in items]})
    for item in () if as_json else items:
        output.say(f"{'✓' if item.good else '✖'} {item.name}: {item.detail.pick(state.language)}")
    return 0 if all(item.good for item in items) else 1


@click.command()
@click.option("--trust", "trusting", is_flag=True, help="Allow this workspace's own skills to run.")
@json_flag
@click.pass_obj
def skills(state: State, trusting: bool, as_json: bool) -> int:
    """The jobs that the tutor can run."""
    from tutor_agent.skillkit.registry import find_skills, trust

    output, workspace = state.output(as_json), state.context().workspace
    if trusting:
        trust(workspace)
    registry = find_skills(workspace)
    if as_json:
        rows = [{"name": s.name, "title": s.title.model_dump()} for s in registry.skills]
        output.emit({"skills": rows, "broken": [text.model_dump() for text in registry.broken]})
    for skill in () if as_json else registry.skills:
        output.say(f"{skill.name:20} {skill.title.pick(state.language)}")
    for text in registry.broken:
        click.echo(text.pick(state.language), err=True)
    return 0


COMMANDS = (ask, inspect, diagnose, explain, check, skills)
