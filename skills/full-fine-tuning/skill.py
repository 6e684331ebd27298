"""Full fine-tuning, light side: it has no parameters of its own; every weight moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.findings import Finding
from tutor_agent.core.job import Job
from tutor_agent.core.text import Text
from tutor_agent.estimate.footprint import Footprint, full_footprint

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.facts import Facts, ModelFacts
    from tutor_agent.core.plan import Plan

FEW_ROWS = 1000
LARGE_MODEL = 1_000_000_000


class Params(Contract):
    """Full fine-tuning has no parameters of its own."""


def check(facts: Facts, params: Params) -> list[Finding]:
    """Return what is unwise.

    Raises:
        NotPossibleError: The weights are quantised, so they cannot move.
    """
    del params
    model, rows = facts.model, facts.data.rows
    if model.quantization is not None:
        raise NotPossibleError(
            f"{model.name} is stored in {model.quantization}: quantised weights cannot be trained. Convert it to "
            "bf16 first, or take its bf16 release.",
            f"{model.name} 以 {model.quantization} 存储：量化后的权重不能训练。请先转换成 bf16，或改用其 bf16 版本。",
        )
    if rows >= FEW_ROWS or model.parameters.total < LARGE_MODEL:
        return []
    billions = model.parameters.total / 1e9
    return [
        Finding(
            cause="catastrophic_forgetting",
            title=Text(
                en="Few rows move all weights of a large model.",
                zh="用很少的数据移动大模型的全部权重。",
            ),
            severity="hint",
            confidence=0.5,
            evidence=(
                Text(
                    en=f"{rows} rows for {billions:.1f} billion weights: general skills are easily lost. LoRA keeps "
                    "them better.",
                    zh=f"{rows} 行数据对应 {billions:.1f}B 个权重：容易丢失通用能力，LoRA 更能保留它们。",
                ),
            ),
        )
    ]


def footprint(model: ModelFacts, params: Params) -> Footprint:
    """Return which weights move."""
    del params
    return full_footprint(model)


def build(plan: Plan, folder: Path) -> Job:
    """Return the job that trains."""
    return Job(
        script=str(folder / "scripts" / "train.py"),
        arguments=("--run", "{run}", "--model", "{model}"),
        processes=plan.launch.processes,
        nodes=plan.launch.nodes,
        outputs=("result/config.json",),
    )
