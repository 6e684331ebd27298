"""Start a plan as a run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.probe.machine import inspect_machine
from tutor_agent.probe.sources import resolve_model
from tutor_agent.runs.folder import Lineage, create_run
from tutor_agent.runs.launch import local
from tutor_agent.runs.view import RunView, read_run
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.core.advice import Why
    from tutor_agent.core.facts import Machine
    from tutor_agent.core.plan import Plan
    from tutor_agent.core.text import Text


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
    job = skill.build(plan, skill.folder)
    lineage = lineage or Lineage()
    folder = create_run(
        context.runs, plan, why, lineage=lineage, facts=_environment(machine, model.path)
    )
    resume = Path(lineage.resume_from) if lineage.resume_from else None
    local.start(folder, job, model_path=model.path, resume=resume)
    return read_run(folder.path)


def check_possible(plan: Plan, machine: Machine) -> None:
    """Refuse what this machine cannot do, before anything is written.

    Raises:
        NotPossibleError: Too many processes, a missing device, or another place than this machine.
    """
    slots = len(machine.accelerators) or machine.cores
    if plan.launch.processes > slots:
        kind_en, kind_zh = (
            ("GPUs", "张 GPU") if machine.accelerators else ("CPU cores", "个 CPU 核")
        )
        raise NotPossibleError(
            f"The plan asks for {plan.launch.processes} processes; this machine has {slots} {kind_en}. "
            f"Set launch.processes to {slots} or less.",
            f"计划要求 {plan.launch.processes} 个进程，而本机只有 {slots} {kind_zh}。"
            f"请把 launch.processes 设为不超过 {slots}。",
        )
    if plan.launch.where != "local" or plan.launch.nodes > 1:
        raise NotPossibleError(
            f"launch.where = {plan.launch.where!r} with {plan.launch.nodes} nodes: only runs on this machine "
            "can be started so far. Set launch.where to 'local' and launch.nodes to 1.",
            f"launch.where = {plan.launch.where!r}、{plan.launch.nodes} 个节点：目前只能在本机启动。"
            "请把 launch.where 设为 'local'，launch.nodes 设为 1。",
        )
    if plan.optim.optimizer in {"adamw_8bit", "paged_adamw_8bit"} and not machine.accelerators:
        raise NotPossibleError(
            f"optim.optimizer = {plan.optim.optimizer!r} needs an NVIDIA GPU; this machine has none. Use 'adamw'.",
            f"optim.optimizer = {plan.optim.optimizer!r} 需要 NVIDIA GPU，本机没有。请改用 'adamw'。",
        )


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


def _environment(machine: Machine, model: Path) -> dict[str, object]:
    return {"machine": machine.model_dump(mode="json"), "model_path": str(model)}
