"""Beginning a run: the same way whoever asks, a person or the autopilot of a run that has ended."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.runs.folder import Lineage, RunFolder, create_run
from tutor_agent.runs.launch import local

if TYPE_CHECKING:
    from tutor_agent.core.advice import Why
    from tutor_agent.core.facts import Machine
    from tutor_agent.core.plan import Plan
    from tutor_agent.runs.launch.record import Timing
    from tutor_agent.skillkit.contract import Skill


@dataclass(frozen=True)
class Place:
    """Where a run happens."""

    root: Path
    """The folder of all runs."""
    machine: Machine
    """This machine."""
    model: Path
    """Local folder of the model."""
    timing: Timing | None = None
    """How patient the supervisor is."""


def begin_run(
    place: Place, plan: Plan, why: dict[str, Why], skill: Skill, lineage: Lineage | None = None
) -> RunFolder:
    """Make the folder of a run and start it in the background.

    Raises:
        NotPossibleError: The machine cannot run the plan.
        LaunchError: The supervisor could not start.
    """
    check_possible(plan, place.machine)
    job = skill.build(plan, skill.folder)
    lineage = lineage or Lineage()
    facts = {"machine": place.machine.model_dump(mode="json"), "model_path": str(place.model)}
    folder = create_run(place.root, plan, why, lineage=lineage, facts=facts)
    resume = Path(lineage.resume_from) if lineage.resume_from else None
    local.start(folder, job, model_path=place.model, resume=resume, timing=place.timing)
    return folder


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
