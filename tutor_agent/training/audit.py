"""What will really be trained: read off the model itself, after everything was set up."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import HaltedError, NotPossibleError

if TYPE_CHECKING:
    import torch

_INDEX = re.compile(r"(?<=\.)\d+(?=\.)")
_ROUTER = re.compile(r"\.mlp\.(gate|router)\.|\.shared_expert_gate\.|\.router\.")
_BESIDE_ADAPTERS = re.compile(r"\.lora_|\.modules_to_save\.")


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
        size = size_of(parameter)
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


def refuse_surprises(audit: TrainableAudit, *, adapters: bool) -> None:
    """Refuse to train nothing, to move what nobody asked for, or to move it in too coarse steps.

    With `adapters` only they may move, and a classifier's new scores, but not on the router of a mixture of experts.

    Raises:
        HaltedError: Nothing would be trained.
        NotPossibleError: One of the others.
    """
    if not audit.trainable:
        raise HaltedError(
            f"None of the {audit.total:,} parameters would be trained. Check the params of the plan: targets for LoRA, "
            "train_last and train_modules for layer freezing.",
            f"{audit.total:,} 个参数中没有一个会被训练。请检查计划的 params：LoRA 看 targets，冻结训练看 train_last 和 train_modules。",
            cause="nothing_trainable",
        )
    if adapters and audit.router:
        raise NotPossibleError(
            "The router of the experts would be adapted, which unbalances them. Set params.targets to 'attention'.",
            "专家路由器会被改动，导致专家失衡。请把 params.targets 设为 'attention'。",
        )
    others = [name for name in audit.modules if not _BESIDE_ADAPTERS.search(name)]
    if adapters and others:
        raise NotPossibleError(
            f"Weights of the model itself would move beside the adapters: {', '.join(others[:3])}. They would not be in the "
            "saved adapter. Set params.targets to 'attention', or use the skill 'layer-freezing'.",
            f"除适配器外，模型自身的权重也会改动：{'、'.join(others[:3])}，而保存的适配器里没有它们。"
            "请把 params.targets 设为 'attention'，或改用技能 'layer-freezing'。",
        )
    coarse = audit.dtypes.keys() - {"float32"}
    if coarse:
        raise NotPossibleError(
            f"Weights would move in {', '.join(sorted(coarse))}, where small steps are lost. Only float32 is allowed here; "
            "convert the model, or use 'lora'.",
            f"有权重会以 {'、'.join(sorted(coarse))} 更新，小步会丢失。此处只允许 float32；请转换模型，或改用 'lora'。",
        )


def size_of(parameter: Any) -> int:
    """Return the number of weights; ZeRO-3 keeps it beside an empty parameter, 4-bit weights beside theirs."""
    packed = getattr(parameter, "quant_state", None)
    if packed is not None:
        return int(packed.shape.numel())
    return int(getattr(parameter, "ds_numel", parameter.numel()))
