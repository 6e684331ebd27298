from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.advise.situations import facts
from tutor_agent.advise.planner import make_advice, revise
from tutor_agent.core.changes import Entry, PlanChange, flatten
from tutor_agent.core.errors import InvalidPlanError, NotFoundError, NotPossibleError
from tutor_agent.core.metric_names import TASK_METRICS
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice
    from tutor_agent.core.facts import Facts

SKILLS = find_skills()


def revised(found: Facts, *changes: PlanChange) -> Advice:
    advice = make_advice(found, SKILLS)
    for change in changes:
        advice = revise(advice.plan, advice.why, change, found, SKILLS)
    return advice


def said(advice: Advice) -> str:
    return " ".join(warning.en for warning in advice.warnings)


def test_a_sensible_change_is_applied_and_explained() -> None:
    before = make_advice(facts(), SKILLS)
    after = revised(facts(), PlanChange.set(optim__learning_rate=1e-4))
    assert after.plan.optim.learning_rate == 1e-4
    changed = {
        path
        for path, value in flatten(after.plan).items()
        if flatten(before.plan).get(path) != value
    }
    assert changed == {"optim.learning_rate"}
    why = after.why["optim.learning_rate"]
    assert "You asked" in why.reason.en
    assert why.alternative is not None
    assert "0.0002" in why.alternative.en
    assert after.warnings == ()
    assert set(after.why) == set(flatten(after.plan))


def test_asking_for_what_is_advised_anyway_keeps_the_reason() -> None:
    advice = revised(facts(), PlanChange.set(optim__learning_rate=2e-4))
    assert "usual advice" in advice.why["optim.learning_rate"].reason.en


def test_the_forecast_follows() -> None:
    before = make_advice(facts("laptop", "135m", "20k"), SKILLS)
    after = revised(facts("laptop", "135m", "20k"), PlanChange.set(optim__epochs=1))
    assert after.forecast.steps < before.forecast.steps
    assert after.forecast.hours.expected < 0.7 * before.forecast.hours.expected


@pytest.mark.parametrize(
    ("change", "warning"),
    [
        ({"optim__learning_rate": 10}, "diverge or become NaN"),
        ({"optim__learning_rate": 2e-3}, "rise instead of fall"),
        ({"optim__learning_rate": 1e-7}, "hardly anything"),
        ({"optim__epochs": 20}, "over-fits"),
        ({"optim__max_grad_norm": 0}, "clipping off"),
        ({"optim__weight_decay": 0.5}, "weight_decay"),
        ({"optim__warmup": 500}, "outlast"),
        ({"optim__accumulate": 64}, "too few"),
        ({"data__max_length": 32}, "cuts about"),
        ({"data__max_length": 9000}, "positions"),
        ({"params__alpha": 512}, "scale is very strong"),
        ({"model__dtype": "bf16"}, "emulated"),
    ],
)
def test_dangerous_wishes_are_done_with_a_warning(change: dict[str, Any], warning: str) -> None:
    advice = revised(facts(), PlanChange.set(**change))
    assert warning in said(advice)
    assert all(text.zh != text.en for text in advice.warnings)


@pytest.mark.parametrize(
    ("machine", "change", "message"),
    [
        ("laptop", {"launch__processes": 9}, "1 to 8"),
        ("3090", {"launch__processes": 2}, "has 1 GPU:"),
        ("laptop", {"optim__optimizer": "adamw_8bit"}, "needs an NVIDIA GPU"),
        ("laptop", {"model__attention": "flash"}, "needs a GPU"),
        ("laptop", {"model__dtype": "fp16"}, "needs a GPU"),
        ("t4", {"model__dtype": "bf16"}, "NVIDIA T4"),
        ("3090", {"launch__sharding": "fsdp2"}, "at least 2 processes"),
        ("4xa100", {"launch__offload": "cpu"}, "only with sharding"),
        ("laptop", {"params__r": 500}, "width of k_proj"),
    ],
)
def test_impossible_wishes_are_refused(machine: str, change: dict[str, Any], message: str) -> None:
    with pytest.raises(NotPossibleError, match=message):
        revised(facts(machine), PlanChange.set(**change))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"optim__lr": 1e-4}, "no field 'optim.lr'"),
        ({"optim__learning_rate": -1}, "learning_rate"),
        ({"params__rank": 4}, "unknown key 'rank'"),
        ({"params__r": "many"}, "r = 'many'"),
    ],
)
def test_invalid_wishes_are_explained(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        revised(facts(), PlanChange.set(**change))


def test_multiplying_and_adding_work() -> None:
    change = PlanChange(entries=(Entry(path="optim.learning_rate", op="multiply", value=0.5),))
    assert revised(facts(), change).plan.optim.learning_rate == pytest.approx(1e-4)


def test_settings_that_change_no_result_move_along_to_keep_it_fitting() -> None:
    found = facts("3090", "7b", "20k")
    before = make_advice(found, SKILLS)
    after = revised(found, PlanChange.set(data__max_length=2048))
    assert after.forecast.fits == "yes"
    assert after.plan.optim.micro_batch < before.plan.optim.micro_batch
    assert after.plan.effective_batch == before.plan.effective_batch
    assert "moved along" in said(after)
    assert "Moved along" in after.why["optim.micro_batch"].reason.en


def test_what_cannot_be_made_to_fit_is_said_not_hidden() -> None:
    change = PlanChange.set(optim__micro_batch=64, launch__checkpointing=False)
    advice = revised(facts("3090", "7b"), change)
    assert advice.forecast.fits == "no"
    assert "will not fit" in said(advice)
    assert "save most" in said(advice)


def test_another_skill_gives_another_plan_and_keeps_what_was_asked() -> None:
    found = facts()
    advice = revised(
        found,
        PlanChange.set(optim__epochs=2, params__r=4),
        PlanChange.set(skill="layer-freezing"),
    )
    assert advice.plan.skill == "layer-freezing"
    assert set(advice.plan.params) == set(SKILLS.get("layer-freezing").params.model_fields)
    assert advice.plan.optim.epochs == 2
    assert advice.plan.optim.learning_rate == 1e-4
    assert advice.plan.name == "support-bot"
    assert advice.candidates[0].skill == "layer-freezing"
    with pytest.raises(NotFoundError, match="lora"):
        revised(found, PlanChange.set(skill="loar"))


def test_another_task_changes_what_is_measured() -> None:
    advice = revised(facts(), PlanChange.set(task="chat"))
    assert advice.plan.task == "chat"
    assert "You asked" not in advice.why["skill"].reason.en
    assert advice.plan.evaluation.metrics == TASK_METRICS["chat"]


def test_a_second_change_remembers_the_usual_advice() -> None:
    advice = revised(
        facts(),
        PlanChange.set(optim__learning_rate=1e-3),
        PlanChange.set(optim__learning_rate=5e-4),
    )
    alternative = advice.why["optim.learning_rate"].alternative
    assert alternative is not None
    assert "0.0002" in alternative.en


def test_alpha_keeps_its_ratio_to_the_rank_and_says_so() -> None:
    advice = revised(facts(), PlanChange.set(params__r=64))
    assert (advice.plan.params["r"], advice.plan.params["alpha"]) == (64, 128)
    assert "alpha" in said(advice)
    assert "rank" in advice.why["params.alpha"].reason.en
    assert not advice.why["params.alpha"].assumed
    halved = PlanChange(entries=(Entry(path="params.r", op="multiply", value=0.5),))
    assert revised(facts(), PlanChange.set(params__r=64), halved).plan.params["alpha"] == 64


def test_alpha_that_was_asked_for_stays() -> None:
    together = revised(facts(), PlanChange.set(params__r=64, params__alpha=16))
    assert together.plan.params["alpha"] == 16
    later = revised(facts(), PlanChange.set(params__alpha=16), PlanChange.set(params__r=64))
    assert later.plan.params["alpha"] == 16
    assert "params.alpha" not in said(later)


def test_a_rank_asked_for_at_once_brings_its_alpha() -> None:
    change = PlanChange.set(params__r=64)
    assert make_advice(facts(), SKILLS, change=change).plan.params["alpha"] == 128
