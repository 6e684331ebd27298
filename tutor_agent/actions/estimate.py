"""What would one configuration cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, JsonValue

from tutor_agent.actions.inspect import see_machine, see_model
from tutor_agent.core.contract import Contract
from tutor_agent.core.facts import Accelerator, Machine
from tutor_agent.core.plan import (
    Attention,
    DataChoice,
    Dtype,
    LaunchChoice,
    ModelChoice,
    OptimChoice,
    Optimizer,
    Plan,
)
from tutor_agent.estimate.forecast import forecast
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.forecast import Forecast


class EstimateRequest(Contract):
    """One configuration."""

    model: str
    """A local folder, a model id, or a catalogue name."""
    skill: str = "lora"
    """Training skill."""
    params: dict[str, JsonValue] = {}
    """That skill's parameters."""
    precision: Dtype = "bf16"
    """Compute precision."""
    micro_batch: int = Field(default=1, ge=1)
    """Samples per forward pass."""
    accumulate: int = Field(default=1, ge=1)
    """Forward passes per step."""
    max_length: int = Field(default=2048, ge=8)
    """Tokens per sample."""
    optimizer: Optimizer = "adamw"
    """Optimizer."""
    launch: LaunchChoice = LaunchChoice(checkpointing=True)
    """Processes, sharding, checkpointing, offload."""
    attention: Attention = "sdpa"
    """Attention implementation."""
    machine: str | None = None
    """A machine in words; this one when absent."""
    gpu_memory: float | None = Field(default=None, gt=0)
    """Memory of one GPU in GiB, in place of the machine's own."""
    liger: bool = False
    """Whether Liger's kernels are used, whose loss never builds all logits."""
    head: Literal["language_model", "classifier"] = "language_model"
    """The vocabulary's head, or one score a class."""
    compile: bool = False
    """Whether the model is compiled."""


def estimate(context: Context, request: EstimateRequest) -> Forecast:
    """Estimate memory and time of one configuration, without data."""
    model = see_model(context, request.model)
    machine = _machine(context, request)
    skill = find_skills(context.workspace).get(request.skill)
    params = skill.params.parse(request.params, f"parameters of {request.skill}")
    plan = Plan.parse(
        {
            "name": "estimate",
            "skill": request.skill,
            "params": request.params,
            "task": "classification" if request.head == "classifier" else "chat",
            "model": ModelChoice(
                source=request.model,
                dtype=request.precision,
                attention=request.attention,
                head=request.head,
                liger=request.liger,
                compile=request.compile,
            ),
            "data": DataChoice(train="none", max_length=request.max_length),
            "optim": OptimChoice(
                optimizer=request.optimizer,
                learning_rate=1e-4,
                micro_batch=request.micro_batch,
                accumulate=request.accumulate,
            ),
            "launch": request.launch,
        },
        "estimate",
    )
    footprint = skill.footprint(model, params)
    return forecast(plan, model, machine, footprint, None)


def _machine(context: Context, request: EstimateRequest) -> Machine:
    """Return the machine asked about; a memory alone means unnamed GPUs of that size."""
    if request.gpu_memory is None:
        return see_machine(context, request.machine)
    card = Accelerator(name="GPU", memory_gib=request.gpu_memory)
    if request.machine is None:
        return Machine(accelerators=(card,) * request.launch.processes, described=True)
    machine = see_machine(context, request.machine)
    cards = tuple(
        known.model_copy(update={"memory_gib": request.gpu_memory, "free_gib": None})
        for known in machine.accelerators or (card,)
    )
    return machine.model_copy(update={"accelerators": cards})
