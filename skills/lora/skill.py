"""LoRA, light side: its parameters, what can go wrong, what it needs, how it is started."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tutor_agent.core.advice import Why
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.findings import Finding
from tutor_agent.core.job import Job
from tutor_agent.core.text import Text
from tutor_agent.estimate.footprint import Footprint, lora_footprint, resolve_targets
from tutor_agent.estimate.linear import blocks, quantisable_weights

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.facts import Facts, ModelFacts
    from tutor_agent.core.plan import Plan

STRONG_SCALE = 8.0
"""alpha / r above this acts like a learning rate several times larger."""
SMALL_MODEL = 500_000_000


class Params(Contract):
    """Low-rank adapters beside frozen weights."""

    r: int = Field(default=16, ge=1, le=4096)
    """Rank of the adapters: how much they can learn."""
    alpha: int = Field(default=32, ge=1)
    """Scale: the adapters' output is multiplied by alpha / r."""
    dropout: float = Field(default=0.0, ge=0, lt=1)
    """Dropout in front of the adapters."""
    targets: str | list[str] = "all-linear"
    """`all-linear`, `attention`, or a list of module names."""
    dora: bool = False
    """Learn direction and size apart (DoRA): a little better at low rank, slower."""
    rslora: bool = False
    """Scale by alpha / sqrt(r) instead of alpha / r: steadier at high rank."""
    quantization: Literal["none", "nf4", "int8"] = "none"
    """Hold the frozen weights in 4 bits (nf4: QLoRA) or 8 (int8): less memory, slower steps; needs bitsandbytes."""


def check(facts: Facts, params: Params) -> list[Finding]:
    """Return what is unwise.

    Raises:
        NotPossibleError: The adapters cannot be made for this model.
    """
    model = facts.model
    if model.quantization is not None:
        raise NotPossibleError(
            f"{model.name} is stored in {model.quantization}: quantised weights cannot be trained. Convert it to "
            "bf16 first, or take its bf16 release.",
            f"{model.name} 以 {model.quantization} 存储：量化后的权重不能训练。请先转换成 bf16，或改用其 bf16 版本。",
        )
    names = resolve_targets(model.shape, params.targets)
    _check_rank(model, params, names)
    attentive = resolve_targets(model.shape, "attention")
    if model.shape.experts is not None and not set(names) <= set(attentive):
        _check_experts(params)
    findings = _saves_little(model, params)
    scale = params.alpha / (params.r**0.5 if params.rslora else params.r)
    if scale <= STRONG_SCALE:
        return findings
    return [
        *findings,
        Finding(
            cause="lr_too_high",
            title=Text(en="The adapters' scale is very strong.", zh="适配器的缩放系数过大。"),
            severity="warn",
            confidence=0.6,
            evidence=(
                Text(
                    en=f"params.alpha {params.alpha} with params.r {params.r} scales the adapters by "
                    f"{scale:.0f}; 1 to 2 is usual.",
                    zh=f"params.alpha {params.alpha}、params.r {params.r} 使适配器放大 {scale:.0f} 倍；"
                    "通常为 1 到 2 倍。",
                ),
            ),
        ),
    ]


def footprint(model: ModelFacts, params: Params) -> Footprint:
    """Return which weights move."""
    bits = "nf4-double" if params.quantization == "nf4" else params.quantization
    return lora_footprint(model, params.r, params.targets, dropout=params.dropout, frozen_bits=bits)


def build(plan: Plan, folder: Path) -> Job:
    """Return the job that trains."""
    return Job(
        script=str(folder / "scripts" / "train.py"),
        arguments=("--run", "{run}", "--model", "{model}"),
        processes=plan.launch.processes,
        nodes=plan.launch.nodes,
        outputs=("result/adapter_config.json", "result/adapter_model.safetensors"),
    )


def suggest(facts: Facts) -> tuple[Params, dict[str, Why]]:
    """Return parameters that suit the model and the data, with a reason for each."""
    experts = facts.model.shape.experts is not None
    rank = 8 if facts.data.rows < 500 or facts.model.parameters.total < SMALL_MODEL else 16
    params = Params(r=rank, alpha=2 * rank, targets="attention" if experts else "all-linear")
    return params, {
        "params.r": _why_rank(facts, rank),
        "params.alpha": _why_alpha(params.alpha),
        "params.dropout": _why_dropout(experts),
        "params.targets": _why_targets(facts.model, experts),
        "params.dora": _why_dora(),
        "params.rslora": _why_rslora(),
        "params.quantization": _why_quantization(),
    }


def _check_rank(model: ModelFacts, params: Params, names: tuple[str, ...]) -> None:
    narrowest = min(
        (layer for _, layers in blocks(model.shape) for layer in layers if layer.name in names),
        key=lambda layer: min(layer.inputs, layer.outputs),
    )
    limit = min(narrowest.inputs, narrowest.outputs)
    if params.r > limit:
        raise NotPossibleError(
            f"params.r = {params.r} is more than {limit}, the width of {narrowest.name} in {model.name}: "
            f"such an adapter is larger than the layer. Choose r of {min(64, limit)} or less, usually 8 to 32.",
            f"params.r = {params.r} 超过了 {model.name} 中 {narrowest.name} 的宽度 {limit}：这样的适配器比该层本身还大。"
            f"请选择不超过 {min(64, limit)} 的 r，通常为 8 到 32。",
        )


def _check_experts(params: Params) -> None:
    if params.dropout > 0:
        raise NotPossibleError(
            f"params.dropout = {params.dropout} does not work with LoRA on expert layers: PEFT adapts them as "
            "whole tensors and refuses any dropout. Set params.dropout to 0, or params.targets to 'attention'.",
            f"params.dropout = {params.dropout} 不能与专家层上的 LoRA 一起使用：PEFT 把专家作为整块张量来适配，"
            "不接受 dropout。请把 params.dropout 设为 0，或把 params.targets 设为 'attention'。",
        )
    if params.dora:
        raise NotPossibleError(
            "params.dora = true does not work with LoRA on expert layers: PEFT offers DoRA for plain linear "
            "layers only. Set params.dora to false, or params.targets to 'attention'.",
            "params.dora = true 不能与专家层上的 LoRA 一起使用：PEFT 的 DoRA 只支持普通线性层。"
            "请把 params.dora 设为 false，或把 params.targets 设为 'attention'。",
        )
    named = [params.targets] if isinstance(params.targets, str) else params.targets
    tensors = {"experts.gate_proj", "experts.up_proj", "experts.gate_up_proj", "experts.down_proj"}
    beside = [name for name in named if name == "all-linear" or _in_mlp(name, tensors)]
    if params.quantization != "none" and beside:
        raise NotPossibleError(
            f"params.quantization = {params.quantization!r} does not work with params.targets {beside[0]!r} in a mixture of "
            "experts: PEFT adapts shared experts and dense layers there only while they are not packed. Set "
            "params.targets to 'attention', or params.quantization to 'none'.",
            f"在混合专家模型中，params.quantization = {params.quantization!r} 不能与 params.targets {beside[0]!r} 一起使用："
            "共享专家和稠密层打包后，PEFT 无法适配。请把 params.targets 设为 'attention'，或把 params.quantization 设为 'none'。",
        )


def _in_mlp(name: str, tensors: set[str]) -> bool:
    return name.endswith(("gate_proj", "up_proj", "down_proj")) and name not in tensors


def _saves_little(model: ModelFacts, params: Params) -> list[Finding]:
    if params.quantization == "none" or model.shape.experts is None:
        return []
    packed = quantisable_weights(model.shape)[0] / model.parameters.total
    return [
        Finding(
            cause="oom_model_states",
            title=Text(
                en="Quantisation leaves most of this model as it is.",
                zh="量化对该模型的大部分权重不起作用。",
            ),
            severity="hint",
            confidence=0.9,
            evidence=(
                Text(
                    en=f"The routed experts of {model.name} are fused tensors, which bitsandbytes does not pack: "
                    f"{params.quantization} reaches {packed:.0%} of the weights.",
                    zh=f"{model.name} 的路由专家是融合张量，bitsandbytes 不会打包：{params.quantization} 只作用于 "
                    f"{packed:.0%} 的权重。",
                ),
            ),
        )
    ]


def _why_rank(facts: Facts, rank: int) -> Why:
    rows, name = facts.data.rows, facts.model.name
    return Why(
        reason=Text(
            en=f"Rank {rank} is ample for {rows} rows on {name}: the best learning rate hardly depends on the "
            "rank, and more rank mostly adds memory.",
            zh=f"对 {name} 上的 {rows} 行数据，秩 {rank} 已经足够：最佳学习率几乎与秩无关，更高的秩主要是多占显存。",
        ),
        card="lora-rank",
        source="LoRA Without Regret (thinkingmachines.ai/blog/lora); Unsloth LoRA guide: r 16 or 32; "
        "LLaMA-Factory: r 8",
        alternative=Text(
            en="32 to 64 when much new knowledge has to go in and training loss stalls.",
            zh="需要灌入大量新知识且训练损失停滞时，可用 32 到 64。",
        ),
    )


def _why_alpha(alpha: int) -> Why:
    return Why(
        reason=Text(
            en=f"alpha {alpha} is twice the rank, so the adapters' output is scaled by 2, as most recipes do.",
            zh=f"alpha {alpha} 是秩的两倍，适配器输出放大 2 倍，这是多数配方的做法。",
        ),
        card="lora-alpha",
        source="Unsloth LoRA guide: alpha = r or 2r; LLaMA-Factory: alpha = 2r",
        alternative=Text(
            en="alpha = r for a gentler start; change alpha and the learning rate together.",
            zh="想更平缓可取 alpha = r；alpha 与学习率要一起调整。",
        ),
    )


def _why_dropout(experts: bool) -> Why:
    if experts:
        reason = Text(
            en="0, for PEFT refuses any dropout as soon as expert layers carry adapters. The guide's 0.1 to 0.3 "
            "stops with an error there.",
            zh="取 0：只要专家层带适配器，PEFT 就不接受 dropout。指南给出的 0.1～0.3 在这种情况下会直接报错。",
        )
    else:
        reason = Text(
            en="0: with few epochs and early stopping the adapters do not over-fit by themselves. The guide's "
            "0.1 to 0.3 is for training over 10 to 30 epochs.",
            zh="取 0：训练轮数少并有早停时，适配器本身不易过拟合。指南的 0.1～0.3 是针对 10～30 轮训练的。",
        )
    return Why(
        reason=reason,
        card="dropout",
        source="Unsloth LoRA guide: 0; ms-swift: 0.05; QLoRA: 0.05 to 0.1; PEFT ParamWrapper; the guide: 0.1 to 0.3",
        alternative=Text(
            en="0.05 to 0.1 on dense models when validation loss rises while training loss falls.",
            zh="在稠密模型上，若验证损失上升而训练损失下降，可取 0.05～0.1。",
        ),
    )


def _why_targets(model: ModelFacts, experts: bool) -> Why:
    if experts:
        return Why(
            reason=Text(
                en=f"{model.name} is a mixture of experts: adapters on all experts are many weights and allow no dropout, "
                "so the attention projections are a safe start. The router stays as it is (PEFT's own 'all-linear' "
                "would adapt it, and leave the shared experts out).",
                zh=f"{model.name} 是混合专家模型：给所有专家加适配器，参数很多，且不能用 dropout，因此先只调注意力投影更稳妥。"
                "路由器保持不变（PEFT 自带的 'all-linear' 会改到它，却漏掉共享专家）。",
            ),
            card="lora-targets",
            source="Measured with peft 0.21 on DeepSeek V2, V3, V3.2 and V4 classes",
            alternative=Text(
                en="Name 'experts.gate_proj', 'experts.up_proj' and 'experts.down_proj' too when attention alone "
                "does not learn enough; many more weights, no dropout.",
                zh="若只调注意力学得不够，可再点名 'experts.gate_proj'、'experts.up_proj'、'experts.down_proj'；"
                "可训练参数会多很多，且不能用 dropout。",
            ),
        )
    return Why(
        reason=Text(
            en="All linear layers: adapters on the MLP matter most, and attention alone learns less at the "
            "same number of weights.",
            zh="所有线性层：MLP 上的适配器最重要，参数量相同时只调注意力学得更少。",
        ),
        card="lora-targets",
        source="LoRA Without Regret (thinkingmachines.ai/blog/lora); QLoRA: all modules",
        alternative=Text(
            en="'attention' saves some memory and time when the task is only about style or format.",
            zh="若任务只涉及风格或格式，用 'attention' 可省一些显存和时间。",
        ),
    )


def _why_dora() -> Why:
    return Why(
        reason=Text(
            en="Off: plain LoRA reaches the same loss in most tasks and is faster.",
            zh="关闭：多数任务里普通 LoRA 就能达到同样的损失，而且更快。",
        ),
        card="lora-variants",
        source="PEFT documentation, DoRA: slower than LoRA unless merged",
        alternative=Text(
            en="On with a rank of 8 or less, when quality matters more than time.",
            zh="秩不超过 8 且质量比时间更重要时可以打开。",
        ),
    )


def _why_rslora() -> Why:
    return Why(
        reason=Text(
            en="Off: it changes something only at high rank.", zh="关闭：只有在高秩时才有区别。"
        ),
        card="lora-variants",
        source="arXiv:2312.03732 (rank-stabilised LoRA)",
        alternative=Text(
            en="On from rank 64 upwards; then lower alpha, since the scale becomes alpha / sqrt(r).",
            zh="秩在 64 以上时可打开；此时缩放变为 alpha / sqrt(r)，要相应降低 alpha。",
        ),
    )


def _why_quantization() -> Why:
    return Why(
        reason=Text(
            en="Off: the frozen weights stay as they are, which is fastest and loses nothing.",
            zh="关闭：冻结的权重保持原样，速度最快，也没有精度损失。",
        ),
        card="qlora",
        source="QLoRA (arXiv:2305.14314): 16-bit quality at a quarter of the weight memory, at slower steps",
        alternative=Text(
            en="'nf4' when the model does not fit otherwise: a quarter of the memory for the frozen weights.",
            zh="模型放不下时用 'nf4'：冻结权重只占四分之一的显存。",
        ),
    )
