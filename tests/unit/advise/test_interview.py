from __future__ import annotations

from tests.unit.advise.situations import DATA, MACHINES, MODELS, facts
from tutor_agent.advise.interview import Question, next_question
from tutor_agent.core.facts import DataFacts, Goal
from tutor_agent.skillkit.registry import find_skills

SKILLS = find_skills()


def asked(
    machine: str, model: str, data: str | DataFacts, goal: Goal | None = None
) -> Question | None:
    rows = DATA[data] if isinstance(data, str) else data
    return next_question(goal or Goal(), rows, MODELS[model], MACHINES[machine], SKILLS)


def test_data_and_model_are_asked_for_first() -> None:
    first = next_question(Goal(), None, None, None)
    assert first is not None
    assert first.slot == "data"
    second = next_question(Goal(), DATA["300"], None, MACHINES["3090"])
    assert second is not None
    assert second.slot == "model"


def test_models_are_offered_that_fit_the_machine() -> None:
    on_card = next_question(Goal(), DATA["300"], None, MACHINES["3090"])
    on_laptop = next_question(Goal(), DATA["300"], None, MACHINES["laptop"])
    assert on_card is not None
    assert on_laptop is not None
    assert any("7b" in str(choice.value).lower() for choice in on_card.choices)
    assert not any("7b" in str(choice.value).lower() for choice in on_laptop.choices)
    assert all(choice.effect is not None for choice in on_card.choices)


def test_nothing_is_asked_when_the_answers_agree() -> None:
    assert asked("3090", "135m", "300") is None
    assert asked("laptop", "135m", "300") is None


def test_the_wish_is_asked_when_it_changes_the_method() -> None:
    question = asked("laptop", "135m", "20k")
    assert question is not None
    assert question.slot == "wish"
    effects = [choice.effect.en for choice in question.choices if choice.effect]
    assert len(set(effects)) == 3
    assert any("layer-freezing" in effect for effect in effects)


def test_an_answer_is_not_asked_for_again() -> None:
    goal = Goal(wish="balanced", task="qa", max_hours=None)
    assert asked("laptop", "135m", "20k", goal) is None
    question = asked("laptop", "135m", "20k", Goal(wish="balanced"))
    assert question is None or question.slot != "wish"


def test_time_is_asked_only_when_it_is_long() -> None:
    many = DATA["20k"].model_copy(
        update={
            "rows": 200_000,
            "lengths": DATA["20k"].lengths.model_copy(update={"total": 46_000_000}),
        }
    )
    question = asked("laptop", "135m", many, Goal(wish="balanced", task="qa"))
    assert question is not None
    assert question.slot == "max_hours"
    assert asked("4xa100", "135m", many, Goal(wish="balanced", task="qa")) is None


def test_the_task_is_asked_when_the_columns_leave_it_open() -> None:
    question = asked("laptop", "135m", "text", Goal(wish="balanced"))
    assert question is not None
    assert question.slot == "task"
    assert question.choices[0].value == "pretraining"


def test_what_cannot_be_planned_is_not_asked_about() -> None:
    assert asked("laptop", "70b", "300") is None


def test_questions_are_bilingual() -> None:
    question = asked("laptop", "135m", "20k")
    assert question is not None
    for text in (question.text, *(choice.text for choice in question.choices)):
        assert text.en != text.zh
    assert facts().goal == Goal()
