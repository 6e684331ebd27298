"""Start a plan as a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.probe.machine import inspect_machine
from tutor_agent.probe.sources import resolve_model
from tutor_agent.runs.begin import Place, begin_run, check_possible
from tutor_agent.runs.view import RunView, read_run
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.core.advice import Why
    from tutor_agent.core.plan import Plan
    from tutor_agent.core.text import Text
    from tutor_agent.runs.folder import Lineage


def start_run(
    context: Context,
    plan: Plan,
    why: dict[str, Why],
    report: Callable[[Text], None] | None = None,
    lineage: Lineage | None = None,
) -> RunView:
    """Check the plan against this machine, fetch the model, and start the run in the background.

    Raises:
        NotPossibleError: The machine cannot run the plan.
        NotFoundError: The data, the model or the skill is not there.
    """
    machine = inspect_machine(context.workspace)
    check_possible(plan, machine)
    plan = _with_absolute_files(context, plan)
    skill = find_skills(context.workspace).get(plan.skill)
    model = resolve_model(_source(context, plan), plan.model.revision, report)
    place = Place(context.runs, machine, model.path)
    folder = begin_run(place, plan, why, skill, lineage)
    return read_run(folder.path)


def _source(context: Context, plan: Plan) -> str:
    folder = context.workspace / Path(plan.model.source).expanduser()
    return str(folder.resolve()) if folder.is_dir() else plan.model.source


def _with_absolute_files(context: Context, plan: Plan) -> Plan:
    files = {
        name: str(context.file(value))
        for name in ("train", "validation", "test")
        if (value := getattr(plan.data, name))
    }
    return plan.model_copy(update={"data": plan.data.model_copy(update=files)})
