"""What the plan is called and does, with which model, at which precision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.advise import sources as src
from tutor_agent.advise.kernels import kernel_fields
from tutor_agent.advise.situation import Field, Fields, Situation, because, billions_text

if TYPE_CHECKING:
    from tutor_agent.core.advice import Why
    from tutor_agent.core.plan import Dtype

_MANY_CLASSES, _MOST_CLASSES = 20, 1000


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
        "model.head": _head(situation),
    }


def label_count(situation: Situation) -> int | None:
    """Return how many different labels the data has, when one column holds them."""
    data = situation.facts.data
    column = next((c for c in data.columns if c.name == data.roles.get("label")), None)
    return column.distinct if column is not None and column.distinct else None


def usual_head(situation: Situation) -> Literal["language_model", "classifier"]:
    """Return a classifier for many classes: one pass gives all scores, where words take many."""
    classes = label_count(situation)
    many = classes is not None and _MANY_CLASSES <= classes <= _MOST_CLASSES
    return "classifier" if situation.task == "classification" and many else "language_model"


def _head(situation: Situation) -> Field:
    value, classes = usual_head(situation), label_count(situation)
    if value == "classifier":
        reason = (
            f"{classes} classes: one score a class comes out of a single pass, where writing the label takes a pass for "
            "every token and may write what is no label at all.",
            f"有 {classes} 个类别：分类头一次前向就给出每一类的分数；逐词写出标签则每个词元一次前向，还可能写出根本不存在的标签。",
        )
        other = (
            "'language_model' when the model must go on chatting, or labels may be added later.",
            "若模型还要继续对话，或以后会新增标签，用 'language_model'。",
        )
    elif situation.task == "classification":
        known = f"{classes} " if classes else ""
        reason = (
            f"The label is written as text: with {known}short labels it is as good as a score a class, needs no new "
            "weights, and the result stays a language model.",
            f"以文字写出标签：{known and f'只有 {known}个'}简短标签时与分类头一样好，不需要新权重，结果仍是语言模型。",
        )
        other = (
            f"'classifier' from about {_MANY_CLASSES} classes on, or when a probability for every class is wanted.",
            f"约 {_MANY_CLASSES} 类以上，或需要每一类的概率时，用 'classifier'。",
        )
    else:
        reason = (
            "The model is to write text, and so it keeps its vocabulary.",
            "模型要写文字，因此保留词表输出。",
        )
        other = (
            "'classifier' belongs to the task classification only.",
            "'classifier' 只用于 classification 任务。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.TRANSFORMERS}: AutoModelForSequenceClassification; {src.FACTS}",
            card="classifier-head",
            other=other,
        ),
    )


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
