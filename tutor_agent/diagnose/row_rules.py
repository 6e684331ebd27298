"""What the audit of the rows says before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.text import Text
from tutor_agent.diagnose.steady import Told

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan

_MANY_DAMAGED, _MANY_REPEATED, _MANY_SHARED = 0.1, 0.6, 0.1
_FEWEST_MARKERS = 2


def rows_told(event: Event, plan: Plan | None) -> Told | None:
    """Return the gravest thing that an `audit` event shows of rows and template."""
    rows = event.number("rows") or 0
    markers = event.payload.get("foreign_markers")
    written = plan is None or (plan.model.head == "language_model" and plan.task != "pretraining")
    if written and isinstance(markers, list) and len(markers) >= _FEWEST_MARKERS:
        return _foreign([str(mark) for mark in markers])
    damaged, repeated, shared = (
        event.number(name) or 0 for name in ("damaged_rows", "repeated_rows", "shared_rows")
    )
    if damaged > _MANY_DAMAGED * rows:
        evidence = Text(
            en=f"{damaged:.0f} of {rows:.0f} training rows hold characters that were decoded wrongly or belong to no text",
            zh=f"{rows:.0f} 行训练数据中有 {damaged:.0f} 行含解码错误或不属于任何文字的字符",
        )
        return Told("rows", ("bad_data",), evidence, "warn")
    if repeated > _MANY_REPEATED * rows:
        evidence = Text(
            en=f"{repeated:.0f} of {rows:.0f} training rows repeat others: only {rows - repeated:.0f} are different",
            zh=f"{rows:.0f} 行训练数据中有 {repeated:.0f} 行重复，互不相同的只有 {rows - repeated:.0f} 行",
        )
        return Told("rows", ("bad_data",), evidence, "warn")
    if shared > _MANY_SHARED * (rows + shared):
        evidence = Text(
            en=f"{shared:.0f} of {rows + shared:.0f} training rows also stand in the validation or test file; they are "
            "left out of training here, but whoever trained on them would be judged by what was learnt by heart",
            zh=f"{rows + shared:.0f} 行训练数据中有 {shared:.0f} 行也在验证或测试文件里；这里训练时已剔除，"
            "否则评估的就是背下来的内容",
        )
        return Told("leak", ("eval_pipeline_mismatch",), evidence, "warn")
    return None


def _foreign(markers: list[str]) -> Told:
    names = ", ".join(markers[:4])
    evidence = Text(
        en=f"the chat template writes {names}, which the tokenizer does not know as tokens: it is the template of "
        "another model",
        zh=f"对话模板会写出 {names}，而分词器不认识这些标记：这是别的模型的模板",
    )
    return Told("template", ("template_mismatch",), evidence, "warn")
