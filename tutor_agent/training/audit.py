"""What will really be trained: read off the model itself, after everything was set up."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import HaltedError

if TYPE_CHECKING:
    import torch

_INDEX = re.compile(r"(?<=\.)\d+(?=\.)")
_ROUTER = re.compile(r"\.mlp\.(gate|router)\.|\.shared_expert_gate\.|\.router\.")


class TrainableAudit(Contract):
    """The parameters that will move."""

    trainable: int
    """Parameters that move."""
    total: int
    """All parameters, adapters included."""
    modules: dict[str, int]
    """Moving parameters by name, blocks taken together (`layers.*`)."""
    blocks: dict[str, int]
    """In how many blocks each of them occurs."""
    dtypes: dict[str, int]
    """Moving parameters by dtype."""
    router: bool
    """Whether the router of a mixture of experts moves."""


def audit_trainable(model: torch.nn.Module) -> TrainableAudit:
    """Count what moves in `model`, by name."""
    sizes: defaultdict[str, int] = defaultdict(int)
    counts: defaultdict[str, int] = defaultdict(int)
    dtypes: defaultdict[str, int] = defaultdict(int)
    total, router = 0, False
    for name, parameter in model.named_parameters():
        size = _size(parameter)
        total += size
        if not parameter.requires_grad:
            continue
        group = _INDEX.sub("*", name.removeprefix("base_model.model.").replace(".default", ""))
        sizes[group] += size
        counts[group] += 1
        dtypes[str(parameter.dtype).removeprefix("torch.")] += size
        router = router or bool(_ROUTER.search(name))
    return TrainableAudit(
        trainable=sum(sizes.values()),
        total=total,
        modules=dict(sizes),
        blocks=dict(counts),
        dtypes=dict(dtypes),
        router=router,
    )


def refuse_pointless(audit: TrainableAudit, *, router_allowed: bool) -> None:
    """Refuse to train nothing, or the router of a mixture of experts by surprise.

    Raises:
        HaltedError: No parameter moves, or the router does although nobody asked for it.
    """
    if not audit.trainable:
        raise HaltedError(
            f"None of the {audit.total:,} parameters would be trained. Check the params of the plan: targets for LoRA, "
            "train_last for layer freezing.",
            f"{audit.total:,} 个参数中没有一个会被训练。请检查计划的 params：LoRA 看 targets，冻结训练看 train_last。",
            cause="nothing_trainable",
        )
    if audit.router and not router_allowed:
        raise HaltedError(
            "The router of the experts would be adapted, which unbalances them. Set params.targets to 'attention'.",
            "专家路由器会被改动，导致专家失衡。请把 params.targets 设为 'attention'。",
            cause="nothing_trainable",
        )


def _size(parameter: Any) -> int:
    """Return the number of elements; ZeRO-3 keeps it beside an empty parameter, 4-bit weights beside theirs."""
    packed = getattr(parameter, "quant_state", None)
    if packed is not None:
        return int(packed.shape.numel())
    return int(getattr(parameter, "ds_numel", parameter.numel()))
