"""What would one configuration cost?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tutor_agent.actions.inspect import see_machine, see_model
from tutor_agent.core.contract import Contract
from tutor_agent.core.plan import (
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
    params: dict[str, int | float | str | list[str]] = {}
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
    attention: str = "sdpa"
    """Attention implementation."""
    machine: str | None = None
    """A machine in words; this one when absent."""


def estimate(context: Context, request: EstimateRequest) -> Forecast:
    """Estimate memory and time of one configuration, without data."""
    model = see_model(context, request.model)
    machine = see_machine(context, request.machine)
    skill = find_skills(context.workspace).get(request.skill)
    params = skill.params.parse(request.params, f"parameters of {request.skill}")
    plan = Plan.parse(
        {
            "name": "estimate",
            "skill": request.skill,
            "params": request.params,
            "task": "chat",
            "model": ModelChoice(source=request.model, dtype=request.precision),
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
    return forecast(plan, model, machine, skill.footprint(model, params), None)
