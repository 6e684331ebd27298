"""The scale of adapters: alpha belongs to the rank, and moves along with it unless it was asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.advice import Why
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Collection

    from tutor_agent.core.plan import Plan

SCALE_WHY = Why(
    reason=Text(
        en="Moved along with the rank, so that the adapters' output keeps its scale alpha / r.",
        zh="随秩一起调整，使适配器输出的缩放 alpha / r 保持不变。",
    ),
    card="lora-alpha",
    source="Unsloth LoRA guide: alpha = r or 2r; LLaMA-Factory: alpha = 2r",
)


def alpha_after(before: Plan, after: Plan, asked: Collection[str]) -> PlanChange:
    """Return the change of alpha that keeps alpha / r as it was; nothing where alpha was asked for.

    The adapters' output is multiplied by alpha / r: another rank alone would also change how far a step
    goes, as another learning rate does.
    """
    alpha, old, rank = before.params.get("alpha"), before.params.get("r"), after.params.get("r")
    if not (isinstance(alpha, int) and isinstance(old, int) and isinstance(rank, int)):
        return PlanChange()
    if min(old, rank) < 1 or old == rank or "params.alpha" in asked or before.skill != after.skill:
        return PlanChange()
    return PlanChange.set(params__alpha=max(1, round(rank * alpha / old)))
