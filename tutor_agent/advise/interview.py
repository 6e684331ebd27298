"""Which question is worth asking: only one whose answer would change the plan.

Plausible answers are tried through the planner. Where the plans agree nothing is asked; the reasons
of the plan then say what was assumed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pydantic import JsonValue

from tutor_agent.advise.planner import make_advice
from tutor_agent.advise.situation import billions_text
from tutor_agent.core.changes import flatten
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError
from tutor_agent.core.facts import Facts, Machine
from tutor_agent.core.text import Text
from tutor_agent.estimate.footprint import lora_footprint
from tutor_agent.estimate.memory import GIB, Setting, memory
from tutor_agent.library.models import all_models
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice
    from tutor_agent.core.facts import DataFacts, Goal, ModelFacts
    from tutor_agent.skillkit.registry import Registry

# How much it matters that two plans differ in a field.
_WEIGHTS = {
    "skill": 5.0,
    "data.supervise": 3.0,
    "data.limit": 3.0,
    "optim.learning_rate": 1.0,
    "optim.epochs": 2.0,
    "data.packing": 1.0,
    "evaluation.metrics": 1.0,
}
_WORTH_ASKING = 3.0
_LONG_HOURS = 8.0
_SHORT_HOURS = 0.5
_MODELS_OFFERED = 4

_TASK_TEXTS = {
    "chat": Text(en="hold a conversation", zh="对话"),
    "qa": Text(en="answer questions, each with one right answer", zh="问答（有标准答案）"),
    "summarization": Text(en="summarise", zh="摘要"),
    "classification": Text(en="sort into classes", zh="分类"),
    "completion": Text(en="continue a text in a given manner", zh="按某种风格续写"),
    "pretraining": Text(en="take in a body of text", zh="吸收一批文本（继续预训练）"),
}
_TASKS_OF_FORMAT = {
    "text": ("pretraining", "completion"),
    "pairs": ("chat", "qa", "summarization"),
    "alpaca": ("chat", "qa", "summarization"),
}


class Choice(Contract):
    """One answer."""

    value: JsonValue
    """What is stored in the slot."""
    text: Text
    """What the person reads."""
    effect: Text | None = None
    """How the plan would look."""


class Question(Contract):
    """The next thing to ask."""

    slot: str
    """What is asked for: `data`, `model`, or a field of the goal."""
    text: Text
    """The question."""
    choices: tuple[Choice, ...] = ()
    """Plausible answers; empty when anything may be said."""


class _Slot(NamedTuple):
    name: str
    text: Text
    answers: tuple[tuple[JsonValue, Text], ...]


def next_question(
    goal: Goal,
    data: DataFacts | None,
    model: ModelFacts | None,
    machine: Machine | None,
    skills: Registry | None = None,
) -> Question | None:
    """Return the question whose answer would change the plan most; None when nothing is worth asking.

    Data and model have no default and are asked for first. A field of the goal counts as answered once it
    was set, even to its default.
    """
    machine = machine or Machine()
    if data is None:
        return _ask_data()
    if model is None:
        return _ask_model(machine)
    facts = Facts(goal=goal, machine=machine, model=model, data=data)
    skills = skills or find_skills()
    best: tuple[float, Question] | None = None
    for slot in _open_slots(facts):
        found = _try_answers(facts, skills, slot)
        if found is not None and (best is None or found[0] > best[0]):
            best = found
    return best[1] if best is not None else None


def _open_slots(facts: Facts) -> list[_Slot]:
    goal, slots = facts.goal, list[_Slot]()
    tasks = _TASKS_OF_FORMAT.get(facts.data.format, ())
    if goal.task is None and len(tasks) > 1:
        first = facts.data.task
        ordered = sorted(tasks, key=lambda task: task != first)
        slots.append(
            _Slot(
                "task",
                Text(en="What should the model learn to do?", zh="希望模型学会做什么？"),
                tuple((task, _TASK_TEXTS[task]) for task in ordered),
            )
        )
    if "wish" not in goal.model_fields_set and goal.skill is None:
        slots.append(
            _Slot(
                "wish",
                Text(en="What matters most to you?", zh="你最看重什么？"),
                (
                    ("balanced", Text(en="a sensible balance", zh="均衡")),
                    ("quality", Text(en="the best result", zh="效果最好")),
                    ("speed", Text(en="to be done soon", zh="尽快完成")),
                ),
            )
        )
    if "max_hours" not in goal.model_fields_set:
        slots.append(
            _Slot(
                "max_hours",
                Text(en="How long may the training take?", zh="训练最多可以花多长时间？"),
                (
                    (None, Text(en="as long as it takes", zh="不限")),
                    (1.0, Text(en="about an hour", zh="约 1 小时")),
                    (4.0, Text(en="half a working day", zh="半个工作日（4 小时）")),
                ),
            )
        )
    return slots


def _try_answers(facts: Facts, skills: Registry, slot: _Slot) -> tuple[float, Question] | None:
    """Return how much the answers of `slot` change the plan, and the question; None when too little."""
    plans: list[tuple[JsonValue, Text, Advice]] = []
    for value, text in slot.answers:
        goal = facts.goal.model_copy(update={slot.name: value})
        try:
            plans.append(
                (value, text, make_advice(facts.model_copy(update={"goal": goal}), skills))
            )
        except TutorError:
            continue
    if len(plans) < 2:
        return None
    first = plans[0][2]
    worth = max(_difference(first, other) for _, _, other in plans[1:])
    if worth < _WORTH_ASKING or not _matters(slot.name, [advice for _, _, advice in plans]):
        return None
    choices = tuple(
        Choice(value=value, text=text, effect=_effect(advice)) for value, text, advice in plans
    )
    return worth, Question(slot=slot.name, text=slot.text, choices=choices)


def _difference(first: Advice, other: Advice) -> float:
    old, new = flatten(first.plan), flatten(other.plan)
    return sum(weight for path, weight in _WEIGHTS.items() if old.get(path) != new.get(path))


def _matters(slot: str, advices: list[Advice]) -> bool:
    """Return whether the stakes are worth a question: time only when it is long."""
    longest = max(advice.forecast.hours.expected for advice in advices)
    if slot == "max_hours":
        return longest > _LONG_HOURS
    if slot == "wish":
        careful = {advice.plan.skill for advice in advices[:2]}
        return longest > _SHORT_HOURS or len(careful) > 1
    return True


def _effect(advice: Advice) -> Text:
    plan, hours = advice.plan, advice.forecast.hours.expected
    time_en = f"{hours:.1f} hours" if hours >= 1 else f"{max(1, round(hours * 60))} minutes"
    time_zh = f"{hours:.1f} 小时" if hours >= 1 else f"{max(1, round(hours * 60))} 分钟"
    return Text(
        en=f"{plan.skill}, epochs: {plan.optim.epochs:g}, about {time_en}",
        zh=f"{plan.skill}，{plan.optim.epochs:g} 轮，约 {time_zh}",
    )


def _ask_data() -> Question:
    return Question(
        slot="data",
        text=Text(
            en="Which file holds your training data? CSV, JSONL or Parquet; a path is enough.",
            zh="训练数据在哪个文件里？支持 CSV、JSONL、Parquet，给出路径即可。",
        ),
    )


def _ask_model(machine: Machine) -> Question:
    """Offer the largest recommended models that LoRA fits on this machine."""
    fitting = sorted(
        (
            entry
            for entry in all_models()
            if entry.recommend is not None
            and entry.facts.quantization is None
            and _fits(entry.facts, machine)
        ),
        key=lambda entry: -entry.facts.parameters.total,
    )
    choices = tuple(
        Choice(
            value=entry.id,
            text=Text.same(f"{entry.id} ({billions_text(entry.facts.parameters.total)})"),
            effect=entry.recommend,
        )
        for entry in fitting[:_MODELS_OFFERED]
    )
    return Question(
        slot="model",
        text=Text(
            en="Which model should be tuned? A local folder, or an id such as the ones below.",
            zh="要微调哪个模型？可以给本地文件夹，或下面这样的模型名。",
        ),
        choices=choices,
    )


def _fits(model: ModelFacts, machine: Machine) -> bool:
    cards = machine.accelerators
    room = min((card.memory_gib for card in cards), default=machine.free_ram_gib)
    setting = Setting(dtype="bf16" if cards else "fp32", length=1024, checkpointing=True)
    peak = memory(model, lora_footprint(model, 16, "attention"), setting).peak / GIB
    return peak * 1.2 + 0.5 <= room
