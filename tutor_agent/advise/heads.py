"""What sits on top of the model: the vocabulary, or one score a class."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.advise import sources as src
from tutor_agent.advise.situation import Field, because

if TYPE_CHECKING:
    from tutor_agent.advise.situation import Situation

MANY_CLASSES = 20
"""From here on one score a class is worth more than words."""
_ROWS_A_CLASS = 10


def label_count(situation: Situation) -> int | None:
    """Return how many different labels the data has, when one column holds them."""
    data = situation.facts.data
    column = next((c for c in data.columns if c.name == data.roles.get("label")), None)
    return column.distinct if column is not None and column.distinct else None


def usual_head(situation: Situation) -> Literal["language_model", "classifier"]:
    """Return a classifier for many classes: one pass gives all scores, where words take many."""
    classes = label_count(situation)
    most = situation.facts.data.rows // _ROWS_A_CLASS
    many = classes is not None and MANY_CLASSES <= classes <= most
    return "classifier" if situation.task == "classification" and many else "language_model"


def head_field(situation: Situation) -> Field:
    """Return `model.head` with its reason."""
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
            f"'classifier' from about {MANY_CLASSES} classes on, or when a probability for every class is wanted.",
            f"约 {MANY_CLASSES} 类以上，或需要每一类的概率时，用 'classifier'。",
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
