"""LoRA adapters, with targets chosen by looking at the model.

Short names such as `gate_proj` mean different things in different classes. In models whose experts are
fused tensors (DeepSeek V2 and later) PEFT rewrites MLP names to the routed experts and adapts the
router along with them; there the MLP parts are named one by one as parameters, which is left as written.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from peft import LoraConfig, get_peft_model
from pydantic import Field

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import InvalidPlanError, NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.training.classifier import is_classifier
from tutor_agent.training.quantised import Quantisation

if TYPE_CHECKING:
    from collections.abc import Iterable

    from peft import PeftModel
    from transformers import PreTrainedModel

_EXPERT_TENSORS = {"gate_proj": "gate_up_proj", "up_proj": "gate_up_proj", "down_proj": "down_proj"}
_PICKERS = r".*\.(indexer|compressor)\..*"
_LINEAR = {"Linear", "Linear4bit", "Linear8bitLt"}
_LAYER = re.compile(r"^(.*?layers)\.(\d+)\.(.+)$")


class LoraSettings(Contract):
    """The parameters of the skill `lora`."""

    r: int = Field(default=16, ge=1)
    """Rank."""
    alpha: int = Field(default=32, ge=1)
    """Scale: the adapters' output is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the adapters."""
    targets: str | list[str] = "all-linear"
    """`all-linear`, `attention`, or module names."""
    dora: bool = False
    """Learn direction and size apart."""
    rslora: bool = False
    """Scale by alpha / sqrt(r)."""
    quantization: Quantisation = "none"
    """How the frozen weights are held: as they are, in 4 bits (nf4), or in 8 (int8)."""


class Targets(NamedTuple):
    """What PEFT is asked for."""

    modules: tuple[str, ...]
    parameters: tuple[str, ...]


def add_adapters(model: PreTrainedModel, settings: LoraSettings) -> tuple[PeftModel, list[Text]]:
    """Put fp32 adapters on a frozen model; return it and what had to be settled otherwise.

    Raises:
        NotPossibleError: A target does not exist in this model, or cannot be combined with DoRA.
        InvalidPlanError: The list of targets is empty.
    """
    targets = choose_targets(model, settings.targets)
    notes: list[Text] = []
    dropout = settings.dropout
    if targets.parameters and settings.dora:
        raise NotPossibleError(
            "params.dora does not work on expert weights. Set it to false, or params.targets to 'attention'.",
            "params.dora 不能用于专家权重。请设为 false，或把 params.targets 设为 'attention'。",
        )
    if targets.parameters and dropout:
        notes.append(
            Text(
                en=f"params.dropout = {dropout} is not possible on expert weights; 0 is used.",
                zh=f"专家权重不支持 params.dropout = {dropout}，按 0 处理。",
            )
        )
        dropout = 0.0
    config = LoraConfig(
        r=settings.r,
        lora_alpha=settings.alpha,
        lora_dropout=dropout,
        target_modules=list(targets.modules),
        target_parameters=list(targets.parameters) or None,
        exclude_modules=_PICKERS if any(_picks(name) for name in _linear_names(model)) else None,
        use_dora=settings.dora,
        use_rslora=settings.rslora,
        # A classifier's new layer of scores is trained and saved in full beside the adapters.
        task_type="SEQ_CLS" if is_classifier(model) else "CAUSAL_LM",
    )
    adapted = get_peft_model(model, config)
    for parameter in adapted.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return adapted, notes


def choose_targets(model: PreTrainedModel, asked: str | list[str]) -> Targets:
    """Return the modules and parameters that `asked` means in this model, the router never among them.

    Raises:
        NotPossibleError: A name fits nothing in this model.
        InvalidPlanError: Nothing is asked for.
    """
    linears = _linear_names(model)
    attention = _short({name for name in linears if _in_attention(name)})
    fused = _fused_experts(model)
    mlp = {name for name in linears if not _in_attention(name) and not _is_router(name)}
    if not asked:
        raise InvalidPlanError(
            "params.targets is empty, so nothing would be trained. Allowed: 'all-linear', 'attention', or module names.",
            "params.targets 为空，没有可训练的内容。可用：'all-linear'、'attention' 或模块名。",
        )
    if asked == "attention":
        return Targets(attention, ())
    if asked == "all-linear":
        if not fused:
            return Targets(_short({*mlp, *(n for n in linears if _in_attention(n))}), ())
        return Targets(
            attention, _parameters(mlp, fused, {"experts", "shared_experts", "mlp"}, None)
        )
    names = [asked] if isinstance(asked, str) else asked
    return _named(names, linears, mlp, fused)


def _named(names: list[str], linears: set[str], mlp: set[str], fused: set[str]) -> Targets:
    modules: list[str] = []
    parameters: list[str] = []
    for name in names:
        kind, _, leaf = name.rpartition(".")
        hit = {full for full in linears if full.endswith(f".{name}") and not _is_router(full)}
        in_mlp = bool(hit & mlp) or kind.endswith("experts")
        if fused and in_mlp:
            kinds = {kind} if kind.endswith("experts") else {"mlp"}
            found = _parameters(mlp, fused, kinds, leaf)
            parameters += found
        else:
            found = (name,) if hit else ()
            modules += found
        if not found:
            known = sorted({*_short(linears), *(_EXPERT_TENSORS if fused else ())})
            raise NotPossibleError(
                f"LoRA target {name!r} fits no linear layer of this model. It has: {', '.join(known)}.",
                f"LoRA 目标 {name!r} 不是该模型的线性层。该模型有：{'、'.join(known)}。",
            )
    return Targets(tuple(dict.fromkeys(modules)), tuple(dict.fromkeys(parameters)))


def _parameters(
    mlp: set[str], fused: set[str], kinds: set[str], leaf: str | None
) -> tuple[str, ...]:
    """Return MLP weights by parameter name: routed experts, shared experts, dense blocks.

    Routed experts have one name in all blocks; the others are named with their block, since a short
    name would also fit the routed ones.
    """
    found: list[str] = []
    if "experts" in kinds:
        wanted = (
            {_EXPERT_TENSORS[leaf]} if leaf in _EXPERT_TENSORS else set(_EXPERT_TENSORS.values())
        )
        present = {name.rsplit(".", 1)[1] for name in fused}
        found += [f"mlp.experts.{tensor}" for tensor in sorted(wanted & present)]
    for name in sorted(mlp):
        shared = "shared_experts" in name
        if leaf is not None and not name.endswith(f".{leaf}"):
            continue
        if ("shared_experts" in kinds and shared) or ("mlp" in kinds and not shared):
            match = _LAYER.match(name)
            found.append(f"layers.{match[2]}.{match[3]}.weight" if match else f"{name}.weight")
    return tuple(found)


def _linear_names(model: PreTrainedModel) -> set[str]:
    """Return the linear layers inside the blocks, packed ones too; grouped kinds are left out."""
    return {
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear)
        and type(module).__name__ in _LINEAR
        and _LAYER.match(name)
    }


def _fused_experts(model: PreTrainedModel) -> set[str]:
    """Return the names of the three-dimensional expert tensors, if any."""
    return {
        name
        for name, parameter in model.named_parameters()
        if parameter.dim() == 3 and ".experts." in name
    }


def _in_attention(name: str) -> bool:
    path = name.split(".")
    return any("attn" in part or "attention" in part for part in path[:-1]) and not _picks(name)


def _is_router(name: str) -> bool:
    return name.endswith((".gate", ".router", ".shared_expert_gate")) or _picks(name)


def _picks(name: str) -> bool:
    """Return whether a layer only chooses what is attended to, which the loss does not reach."""
    return bool(re.fullmatch(_PICKERS, name))


def _short(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted({name.rsplit(".", 1)[-1] for name in names}))


def adapter_names(model: Any) -> list[str]:
    """Return the modules and parameters that carry an adapter, without the wrapping names."""
    found = {
        name.split(".lora_A")[0].removeprefix("base_model.model.").replace(".base_layer", "")
        for name, _ in model.named_parameters()
        if ".lora_A" in name
    }
    return sorted(found)
