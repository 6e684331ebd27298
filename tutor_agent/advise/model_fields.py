"""What the plan is called and does, with which model, at which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.heads import head_field
from tutor_agent.advise.kernels import kernel_fields
from tutor_agent.advise.situation import Field, Fields, Situation, because, billions_text

if TYPE_CHECKING:
    from tutor_agent.core.advice import Why
    from tutor_agent.core.plan import Dtype


def identity_fields(situation: Situation, name: str, why_skill: Field) -> Fields:
    """Return name, skill, task and the fields of `model`."""
    return {
        "name": Field(
            name,
            because(
                "Made of the data's name; the run folder is called after it.",
                "取自数据名称；运行文件夹以它命名。",
                source=src.FACTS,
                other=(
                    "Any short name of a-z, 0-9 and '-'.",
                    "可以是由 a-z、0-9 和“-”组成的任意短名。",
                ),
            ),
        ),
        "skill": why_skill,
        "task": _task(situation),
        **_model(situation),
    }


def usual_dtype(situation: Situation) -> Dtype:
    """Return the precision the hardware is good at."""
    cards = situation.facts.machine.accelerators
    if not cards:
        return "fp32"
    return "bf16" if all(card.bf16 for card in cards) else "fp16"


def _task(situation: Situation) -> Field:
    assumed = situation.assumes("task")
    reason = (
        (
            "The columns of the data suggest it; say so if you want something else.",
            "由数据的列推断；若想做别的请告诉我。",
        )
        if assumed
        else ("You said so.", "由你指定。")
    )
    return Field(
        situation.task,
        because(
            *reason,
            source=src.FACTS if assumed else src.ASKED,
            card="task-losses",
            assumed=assumed,
        ),
    )


def _model(situation: Situation) -> Fields:
    model, dtype = situation.facts.model, usual_dtype(situation)
    return {
        "model.source": Field(
            model.source,
            because(
                f"The model you named, {billions_text(model.parameters.total)} parameters.",
                f"你指定的模型，参数量 {billions_text(model.parameters.total)}。",
                source=src.ASKED,
                card="choose-model",
                other=(
                    "A smaller one of the same family tries the whole way in a fraction of the time.",
                    "先用同系列更小的模型走通全流程，用时只是一小部分。",
                ),
            ),
        ),
        "model.revision": Field(
            "main",
            because(
                "The newest published state.",
                "最新发布的版本。",
                source="Hugging Face Hub",
                card="choose-model",
                other=("A commit id pins it for good.", "写提交号可永久固定版本。"),
            ),
        ),
        "model.dtype": Field(dtype, _why_dtype(dtype)),
        **kernel_fields(situation),
        "model.head": head_field(situation),
    }


def _why_dtype(dtype: Dtype) -> Why:
    if dtype == "bf16":
        return because(
            "The GPU computes in bf16, which has the range of fp32, so nothing overflows; weights that move stay in fp32.",
            "GPU 支持 bf16，数值范围与 fp32 相同，不会溢出；需要更新的权重仍以 fp32 保存。",
            source=f"{src.TRANSFORMERS}; {src.DEEPSEEK_CODER}: bf16",
            card="precision",
            other=("fp32 when a number must be reproduced exactly.", "需要精确复现时用 fp32。"),
        )
    if dtype == "fp16":
        return because(
            "This GPU (V100 or T4 class) has no bf16. fp16 has a narrow range, so weights that move stay in fp32 and the "
            "loss is scaled; models trained in bf16 can still overflow.",
            "该 GPU（V100、T4 一类）不支持 bf16。fp16 范围窄，因此需要更新的权重保持 fp32 并缩放损失；以 bf16 训练的模型仍可能溢出。",
            source="NVIDIA compute capability below 8.0; " + src.TRANSFORMERS,
            card="precision",
            other=(
                "fp32 when the loss becomes NaN: slower, twice the memory, safe.",
                "损失变为 NaN 时用 fp32：较慢、显存翻倍，但安全。",
            ),
        )
    return because(
        "On a CPU fp32 is exact and, without bf16 instructions, also the fastest.",
        "在 CPU 上 fp32 精确；没有 bf16 指令时也最快。",
        source=src.CPU_MEASURED,
        card="precision",
        other=(
            "bf16 halves the weights on a processor that has the instructions.",
            "处理器带 bf16 指令时，用 bf16 可让权重占用减半。",
        ),
    )
