"""Frozen weights in 4 or 8 bits, for adapters on top of them (QLoRA), by bitsandbytes.

It runs on CUDA and, slower, on a CPU. Only plain linear layers are packed: embeddings, norms, the head and
the fused experts of a mixture stay as they are, and the audit of the run says how much that leaves.
"""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

import torch
from transformers import BitsAndBytesConfig

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.training.audit import size_of

if TYPE_CHECKING:
    from tutor_agent.core.plan import Plan
    from tutor_agent.training.model import Precision

Quantisation = Literal["none", "nf4", "int8"]

PACKED = frozenset({"Linear4bit", "Linear8bitLt"})
"""Classes of packed layers."""
_REARRANGED = "support_avx512bf16_for_cpu"
_LEFT_PLAIN = ["lm_head", "score", "kv_b_proj"]
"""Layers that int8 leaves alone: both heads, and a projection of latent attention whose input has four
dimensions, for which bitsandbytes 0.50 has no product (measured: RuntimeError in int8_vectorwise_quant)."""


def packed_loading(kind: Quantisation, plan: Plan, precision: Precision) -> dict[str, Any]:
    """Return what `from_pretrained` needs to pack the frozen weights while it reads them.

    Raises:
        NotPossibleError: bitsandbytes is not installed, or the plan shards the weights.
    """
    if kind == "none":
        return {}
    if find_spec("bitsandbytes") is None:
        raise NotPossibleError(
            f"params.quantization = {kind!r} needs the package bitsandbytes, which is not installed. Run "
            "`pip install bitsandbytes`, or set it to 'none'.",
            f"params.quantization = {kind!r} 需要安装 bitsandbytes。请运行 `pip install bitsandbytes`，或设为 'none'。",
        )
    if plan.launch.sharding != "none":
        raise NotPossibleError(
            f"params.quantization = {kind!r} does not go with launch.sharding = {plan.launch.sharding!r}: packed weights "
            "are not split over processes here. Set one of them to 'none'.",
            f"params.quantization = {kind!r} 不能与 launch.sharding = {plan.launch.sharding!r} 同时使用："
            "此处不会把打包后的权重分到多个进程。请把其中一个设为 'none'。",
        )
    if kind == "int8":
        config = BitsAndBytesConfig(load_in_8bit=True, llm_int8_skip_modules=_LEFT_PLAIN)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=precision.compute,
        )
    cuda = torch.cuda.is_available()
    place = int(os.environ.get("LOCAL_RANK", "0")) if cuda else "cpu"
    return {"quantization_config": config, "device_map": {"": place}}


def settle_packed(model: torch.nn.Module, kind: Quantisation) -> Text:
    """Keep the packed layers of `model`, still without adapters, fit for training; say how much of it is packed.

    On CPUs with bf16 instructions bitsandbytes rearranges a 4-bit layer for good at its first forward pass without
    gradients; from then on no gradient passes through it, without an error (measured with 0.50.2), and layers of some
    widths fail. Without that the products are exact, at any width.

    Raises:
        NotPossibleError: Nothing is packed.
    """
    for module in model.modules():
        if hasattr(module, _REARRANGED):
            setattr(module, _REARRANGED, False)
    packed = sum(
        size_of(module.get_parameter("weight"))
        for module in model.modules()
        if type(module).__name__ in PACKED
    )
    share = packed / sum(size_of(p) for p in model.parameters())
    if not packed:
        raise NotPossibleError(
            f"params.quantization = {kind!r} packs no layer of {type(model).__name__}. Set it to 'none'.",
            f"params.quantization = {kind!r} 在 {type(model).__name__} 上没有可打包的层。请设为 'none'。",
        )
    return Text(
        en=f"{share:.0%} of the weights are held in {kind}; embeddings, norms, the head and any fused experts are not.",
        zh=f"{share:.0%} 的权重以 {kind} 存放；词嵌入、归一化、输出头和（如有）融合的专家权重除外。",
    )
