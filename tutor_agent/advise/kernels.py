"""Which kernels compute it: attention, Liger, torch.compile. Each only where it can run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.data_fields import usual_max_length, usual_packing
from tutor_agent.advise.situation import Field, Fields, Situation, because

if TYPE_CHECKING:
    from tutor_agent.core.facts import Machine
    from tutor_agent.core.plan import Attention

FLASH_PACKAGE, LIGER_PACKAGE, QUANTISER = "flash-attn", "liger-kernel", "bitsandbytes"
_FLASH_CAPABILITY = 8.0
_LONG = 2048
LIGER_MODELS = frozenset(
    {"llama", "llama4_text", "mistral", "ministral", "mixtral", "smollm3", "phi3", "granite"}
    | {"qwen2", "qwen3", "qwen3_moe", "qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"}
    | {"gemma", "gemma2", "gemma3_text", "gemma4_text", "glm4", "olmo2", "olmo3", "gpt_oss"}
    | {"deepseek_v2", "deepseek_v3", "deepseek_v4", "nemotron", "exaone4", "falcon_h1"}
)
"""Text models for which liger-kernel 0.8.5 has fused modules."""


def kernel_fields(situation: Situation) -> Fields:
    """Return `model.attention`, `model.liger` and `model.compile`."""
    return {
        "model.attention": _attention(situation),
        "model.liger": _liger(situation),
        "model.compile": _compile(situation),
    }


def usual_attention(situation: Situation) -> Attention:
    """Return flash where it can run and pays: packed or long samples; else PyTorch's own kernel."""
    length = usual_max_length(situation)
    pays = usual_packing(situation, length) or length >= _LONG
    return "flash" if pays and can_flash(situation.facts.machine) else "sdpa"


def usual_liger(situation: Situation) -> bool:
    """Return whether the fused kernels are installed, and made for this GPU and this model."""
    machine = situation.facts.machine
    return (
        bool(machine.accelerators)
        and LIGER_PACKAGE in machine.packages
        and situation.facts.model.model_type in LIGER_MODELS
        and situation.facts.model.shape.experts is None
    )


def can_flash(machine: Machine) -> bool:
    """Return whether flash-attn is installed and every GPU is of the Ampere generation or newer."""
    cards = machine.accelerators
    return (
        bool(cards)
        and FLASH_PACKAGE in machine.packages
        and all(float(card.capability or 0) >= _FLASH_CAPABILITY for card in cards)
    )


def can_quantise(machine: Machine) -> bool:
    """Return whether bitsandbytes can run: on NVIDIA GPUs, where it is installed or may still be."""
    cards = machine.accelerators
    there = machine.described or QUANTISER in machine.packages
    return bool(cards) and there and all(card.vendor == "nvidia" for card in cards)


def _attention(situation: Situation) -> Field:
    value = usual_attention(situation)
    if value == "flash":
        reason = (
            "flash-attn is installed and the GPU can use it: packed or long samples need no mask there, so neither the "
            "mask nor repeated keys take memory.",
            "已安装 flash-attn 且显卡支持：打包或较长的样本无需掩码，掩码和重复的键值都不再占显存。",
        )
        other = (
            "'sdpa' when flash-attn reports an error; the result is the same up to rounding.",
            "flash-attn 报错时用 'sdpa'，结果只差舍入误差。",
        )
    else:
        reason = (
            "PyTorch's own kernel: fast, exact, and always there.",
            "PyTorch 自带的内核：快、精确、无需安装。",
        )
        other = (
            "'flash' on Ampere or newer with flash-attn installed, for packed or long samples; 'flex' does the same from "
            "PyTorch alone, on a GPU.",
            "在 Ampere 及更新的显卡上装有 flash-attn、且样本经过打包或很长时可用 'flash'；'flex' 只靠 PyTorch 就能做到，需要 GPU。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.TRANSFORMERS}; FlashAttention-2 (arXiv:2307.08691); {src.FORECAST}",
            card="attention-implementation",
            other=other,
        ),
    )


def _liger(situation: Situation) -> Field:
    value, machine = usual_liger(situation), situation.facts.machine
    if value:
        reason = (
            "On: liger-kernel is installed and knows this model. Norm, rotary embedding and MLP are fused, which saves "
            "memory and time and changes no result beyond rounding.",
            "打开：已安装 liger-kernel 且支持该模型。归一化、旋转位置编码和 MLP 合并计算，省显存也省时间，结果只差舍入误差。",
        )
        other = ("Off when you compare bit by bit.", "需要逐位比较时关闭。")
    elif not machine.accelerators:
        reason = (
            "Off: the kernels are written for GPUs and cannot run on a CPU.",
            "关闭：这些内核只为 GPU 编写，CPU 上无法运行。",
        )
        other = (
            "On once it trains on a GPU with liger-kernel installed.",
            "换到装有 liger-kernel 的 GPU 上训练时可打开。",
        )
    elif situation.facts.model.model_type not in LIGER_MODELS:
        reason = (
            f"Off: liger-kernel has no fused modules for {situation.facts.model.model_type or 'this model'}.",
            f"关闭：liger-kernel 没有为 {situation.facts.model.model_type or '该模型'} 提供融合模块。",
        )
        other = (
            "On for Llama-, Qwen- or Gemma-shaped models.",
            "Llama、Qwen、Gemma 结构的模型可打开。",
        )
    elif situation.facts.model.shape.experts is not None:
        reason = (
            "Off: the kernels have not been measured here on a mixture of experts.",
            "关闭：这些内核还没有在混合专家模型上实测过。",
        )
        other = (
            "On to try it, with liger-kernel installed: the first losses should agree to three digits.",
            "想试可打开（需安装 liger-kernel）：前几步的损失应有三位数字一致。",
        )
    else:
        reason = (
            "Off: the package liger-kernel is not among the packages found.",
            "关闭：没有发现 liger-kernel 这个包。",
        )
        other = (
            "On after `pip install liger-kernel`: less memory and up to a fifth faster on large vocabularies.",
            "执行 `pip install liger-kernel` 后可打开：词表大时更省显存，最多快约五分之一。",
        )
    return Field(
        value,
        because(
            *reason,
            source="Liger Kernel report (arXiv:2410.10989): 20 % more throughput, 60 % less memory on Llama-3-8B",
            card="liger-kernels",
            other=other,
        ),
    )


def _compile(situation: Situation) -> Field:
    reason = (
        (
            "Off: on a CPU the compilation takes minutes and gains little.",
            "关闭：在 CPU 上编译要花几分钟，收益很小。",
        )
        if situation.cpu
        else (
            "Off: the first steps would take minutes to compile, and again for every new sample length.",
            "关闭：最初几步要花几分钟编译，遇到新的样本长度还会重来。",
        )
    )
    return Field(
        False,
        because(
            *reason,
            source="torchtune's table: 7075 tokens/s without, 8998 with (Llama-3.2-3B, A100, packed samples)",
            card="torch-compile",
            other=(
                "On for GPU runs of hours with packed samples, whose shape never changes: about a quarter faster.",
                "样本打包后形状固定、且要在 GPU 上跑几个小时时可打开，约快四分之一。",
            ),
        ),
    )
