"""Facts for advice: machines, models and data in every mixture."""

from __future__ import annotations

from typing import Any

from tests.unit.estimate.known import (
    EIGHT_H100,
    FOUR_A100,
    LAPTOP,
    LLAMA_70B,
    QWEN_7B,
    RTX_3090,
    SMOLLM2,
    T4,
    V2_LITE,
    questions,
    texts,
)
from tutor_agent.core.facts import Facts, Goal

EQUIPPED = {
    "bitsandbytes": "0.50.2",
    "flash-attn": "2.8.3",
    "liger-kernel": "0.8.4",
    "wandb": "0.22",
}
RIG = RTX_3090.model_copy(
    update={
        "accelerators": (RTX_3090.accelerators[0].model_copy(update={"capability": "8.6"}),),
        "packages": EQUIPPED,
    }
)
"""One GPU with everything installed that could use it."""
MACHINES = {
    "laptop": LAPTOP,
    "t4": T4,
    "rig": RIG,
    "3090": RTX_3090,
    "4xa100": FOUR_A100,
    "8xh100": EIGHT_H100,
}
MODELS = {"135m": SMOLLM2, "7b": QWEN_7B, "v2-lite": V2_LITE, "70b": LLAMA_70B}
DATA = {"300": questions(300), "20k": questions(20_000, 200, 600, 2500), "text": texts(5000)}


def facts(machine: str = "laptop", model: str = "135m", data: str = "300", **goal: Any) -> Facts:
    """Return facts by the names above."""
    return Facts(goal=Goal(**goal), machine=MACHINES[machine], model=MODELS[model], data=DATA[data])
