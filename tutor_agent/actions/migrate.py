"""Read an old training script, say what breaks in it today, and give the plan that does the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tutor_agent.actions.inspect import see_data, see_machine, see_model
from tutor_agent.advise.from_script import carry_over
from tutor_agent.advise.script_data_fields import skill_of, task_of
from tutor_agent.advise.script_figures import (
    copy_finding,
    missing_file,
    model_findings,
    preparation_findings,
    unread_findings,
    value_findings,
)
from tutor_agent.advise.script_findings import SEVERITIES, ScriptFinding, text_findings
from tutor_agent.advise.script_plan import ScriptPlan, bare_plan, priced_plan
from tutor_agent.core.advice import Advice, Why
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, TutorError
from tutor_agent.core.facts import Facts, Goal, Machine, ModelFacts
from tutor_agent.core.plan import Plan
from tutor_agent.core.text import Text
from tutor_agent.library.models import find_model, mended_model
from tutor_agent.probe.script import Script, read_script
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.actions.context import Context
    from tutor_agent.advise.carried import Carried


_FILES = ("data.train", "data.validation", "data.test")


class MigrateRequest(Contract):
    """What is migrated."""

    script: str
    """The script (`.py`) or notebook (`.ipynb`)."""
    model: str | None = None
    """A model instead of the script's."""
    data: str | None = None
    """A data file instead of the script's."""
    machine: str | None = None
    """A machine in words; this one when absent."""
    name: str | None = None
    """Name of the plan; the script's when absent."""


class Migration(Contract):
    """What was found in a script, and the plan that does the same."""

    script: str
    """The file."""
    kind: str
    """trainer, sft, or preparation (data only)."""
    findings: tuple[ScriptFinding, ...] = ()
    """What a person must know, the gravest first, then by line."""
    plan: Plan | None = None
    """The plan; None while `needs` names something."""
    why: dict[str, Why] = {}
    """Reasons by dotted field path."""
    lines: dict[str, int] = {}
    """Line of the script that decides a field of the plan."""
    advice: Advice | None = None
    """The plan with its price and warnings; None when model or data are not at hand."""
    warnings: tuple[Text, ...] = ()
    """What the person should know before starting."""
    needs: tuple[str, ...] = ()
    """What the script does not tell and the person has to give: model, data."""


def migrate(context: Context, request: MigrateRequest) -> Migration:
    """Read a script without running it and write the plan that does the same.

    Raises:
        NotFoundError: No such file.
        UnreadableError: It is not Python 3; the message names the line.
        NotPossibleError: It trains nothing, or in a way that no skill can follow.
    """
    script = read_script(context.file(request.script))
    carried = carry_over(script)
    machine = see_machine(context, request.machine)
    findings = [*text_findings(script), *unread_findings(script, carried)]
    findings += preparation_findings(script)
    model, facts, found = _model(context, script, request)
    findings += found
    data = request.data or _data(context, script, carried)
    if request.data:
        _forget_files(carried)
    findings += _missing(context, script, carried)
    needs = tuple(name for name, got in (("model", model), ("data", data)) if got is None)
    findings += value_findings(script, carried, machine)
    if model is None or data is None:
        return _migration(script, findings, None, needs)
    made = _plan(context, request, script, carried, (model, data), (machine, facts))
    made = made.explained(script, own_model=request.model is None)
    return _migration(script, findings, made, needs)


def _migration(
    script: Script,
    findings: list[ScriptFinding],
    made: ScriptPlan | None,
    needs: tuple[str, ...],
) -> Migration:
    findings += made.findings(script) if made else []
    ordered = sorted(findings, key=lambda each: (SEVERITIES.index(each.severity), each.line))
    return Migration(
        script=str(script.path),
        kind=script.kind,
        findings=_unique(ordered),
        plan=made.plan if made else None,
        why=made.why if made else {},
        lines=made.lines if made else {},
        advice=made.advice if made else None,
        warnings=made.warnings if made else (),
        needs=needs,
    )


def _unique(findings: list[ScriptFinding]) -> tuple[ScriptFinding, ...]:
    seen: dict[tuple[str, int, str], ScriptFinding] = {}
    for each in findings:
        seen.setdefault((each.kind, each.line, each.text.en), each)
    return tuple(seen.values())


def _plan(
    context: Context,
    request: MigrateRequest,
    script: Script,
    carried: Carried,
    names: tuple[str, str],
    here: tuple[Machine, ModelFacts | None],
) -> ScriptPlan:
    """Return the plan: priced where model and data are at hand, else from the script alone."""
    (model, data), (machine, facts) = names, here
    name = request.name or script.path.stem
    goal = Goal(task=task_of(script), skill=skill_of(script), language=context.language)
    bare = bare_plan(script, carried, model, data, name)
    if facts is None:
        return bare
    try:
        rows = see_data(context, data)
        found = Facts(goal=goal, machine=machine, model=facts, data=rows)
        return priced_plan(script, carried, found, find_skills(context.workspace), bare)
    except TutorError as error:
        return bare.with_warning(error.text)


def _model(
    context: Context, script: Script, request: MigrateRequest
) -> tuple[str | None, ModelFacts | None, list[ScriptFinding]]:
    """Return the model's name, mended where it does not exist, and what is known of it."""
    given = script.model_name
    if request.model:
        return request.model, see_model(context, request.model), _misnamed(script)
    if given is None or not isinstance(given.value, str) or not given.value.strip():
        return None, None, list(model_findings(script, None, ()))
    name = given.value
    original = _original(name)
    if original is not None:
        return original, see_model(context, original), [copy_finding(script, name, original)]
    better, near = _mended(name)
    if better is not None:
        findings = list(model_findings(script, better, near))
        return better, see_model(context, better), findings
    try:
        return name, see_model(context, name), []
    except NotFoundError as error:
        # Only the hub's own word, or a like name of the same owner, says that there is no such model.
        absent = "hub: no repository" in error.text.en
        trouble = None if absent else error.text
        return name, None, list(model_findings(script, None, near, trouble))
    except TutorError as error:
        return name, None, list(model_findings(script, None, (), error.text))


def _misnamed(script: Script) -> list[ScriptFinding]:
    """Return that the script's own model does not exist, where another one was given."""
    given = script.model_name
    if given is None or not isinstance(given.value, str):
        return []
    better, near = _mended(given.value)
    return list(model_findings(script, None, (better, *near))) if better else []


def _original(name: str) -> str | None:
    """Return the model of the catalogue behind a copy in 4 or 8 bits, as Unsloth offers them."""
    plain = re.sub(r"(?:-unsloth)?-bnb-[48]bit$", "", name.split("/")[-1])
    known = find_model(plain) if plain != name.split("/")[-1] else None
    return known.id if known else None


def _mended(name: str) -> tuple[str | None, tuple[str, ...]]:
    """Return the real name behind one that no repository has, and the names that resemble it."""
    better, near = mended_model(name)
    known = find_model(name)
    exact = known is not None and known.id.lower() == name.lower()
    if exact or known is None or "/" not in name:
        return None, tuple(near)
    return better or known.id, tuple(near)


def _data(context: Context, script: Script, carried: Carried) -> str | None:
    """Return the training file as seen from the workspace, or None when the script does not tell."""
    kept = carried.fields.get("data.train")
    if kept is None:
        return None
    for path in _FILES:
        _locate(context, script, carried, path)
    return str(carried.fields["data.train"].value)


def _locate(context: Context, script: Script, carried: Carried, path: str) -> None:
    """Name a file as it is seen from the workspace, when it lies beside the script."""
    kept = carried.fields.get(path)
    if kept is None:
        return
    beside = script.path.parent / str(kept.value)
    if not (context.workspace / str(kept.value)).exists() and beside.is_file():
        carried.move(path, str(beside))


def _missing(context: Context, script: Script, carried: Carried) -> Iterator[ScriptFinding]:
    """Leave out files that are not here, when the training file is; each gives a finding."""
    here = {
        path: (context.workspace / str(carried.fields[path].value)).is_file()
        for path in _FILES
        if path in carried.fields
    }
    for path, there in here.items():
        if there or (path == "data.train"):
            continue
        kept = carried.fields.pop(path) if here.get("data.train") else carried.fields[path]
        if here.get("data.train") and kept.line is not None:
            yield missing_file(script, str(kept.value), kept.line)


def _forget_files(carried: Carried) -> None:
    for path in _FILES:
        carried.fields.pop(path, None)
