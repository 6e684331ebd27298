"""What cannot be: said with figures and ways out."""

from __future__ import annotations

import pytest

from tests.unit.advise.situations import facts
from tests.unit.estimate.known import cards
from tutor_agent.advise.planner import make_advice
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.errors import InvalidPlanError, NotFoundError, NotPossibleError
from tutor_agent.core.facts import Facts, Problem
from tutor_agent.core.text import Text, detect_language
from tutor_agent.skillkit.registry import Registry, find_skills

SKILLS = find_skills()


def with_model(found: Facts, **update: object) -> Facts:
    return found.model_copy(update={"model": found.model.model_copy(update=update)})


def with_data(found: Facts, **update: object) -> Facts:
    return found.model_copy(update={"data": found.data.model_copy(update=update)})


def test_a_model_that_fits_nowhere_names_the_ways_out() -> None:
    with pytest.raises(NotPossibleError) as caught:
        make_advice(facts("3090", "70b"), SKILLS)
    text = caught.value.text
    for way in ("smaller or distilled", "NVIDIA GeForce RTX 3090", "QLoRA would still need"):
        assert way in text.en
    assert "即使用 QLoRA" in text.zh
    assert detect_language(text.zh) == "zh"


def test_on_a_cpu_the_ways_out_are_smaller_models_or_a_gpu() -> None:
    with pytest.raises(NotPossibleError, match="SmolLM2") as caught:
        make_advice(facts("laptop", "7b"), SKILLS)
    assert "a machine with a GPU" in str(caught.value)
    assert "QLoRA" not in str(caught.value)


def test_a_named_skill_that_does_not_fit_is_refused_with_the_one_that_does() -> None:
    with pytest.raises(NotPossibleError, match="the skill lora fits"):
        make_advice(facts("3090", "7b", skill="full-fine-tuning"), SKILLS)


def test_a_named_skill_that_fits_is_honoured() -> None:
    advice = make_advice(facts("laptop", "135m", skill="full-fine-tuning"), SKILLS)
    assert advice.plan.skill == "full-fine-tuning"
    assert "You asked" in advice.why["skill"].reason.en
    assert len(advice.candidates) == 3


def test_an_unknown_skill_names_the_nearest() -> None:
    with pytest.raises(NotFoundError, match="lora"):
        make_advice(facts(skill="loar"), SKILLS)


def test_without_skills_the_installation_is_blamed() -> None:
    with pytest.raises(NotFoundError, match="Install"):
        make_advice(facts(), Registry(()))


def test_quantised_weights_and_models_without_a_class_are_refused() -> None:
    with pytest.raises(NotPossibleError, match="fp8"):
        make_advice(with_model(facts("8xh100", "7b"), quantization="fp8"), SKILLS)
    with pytest.raises(NotPossibleError, match="V2-Lite"):
        make_advice(with_model(facts("8xh100", "7b"), model_type="deepseek"), SKILLS)


def test_unusable_data_is_refused() -> None:
    with pytest.raises(NotPossibleError, match="no usable row"):
        make_advice(with_data(facts(), rows=0), SKILLS)
    fatal = Problem(line=3, text=Text(en="it is cut", zh="文件不完整"), fatal=True)
    with pytest.raises(NotPossibleError, match="it is cut"):
        make_advice(with_data(facts(), problems=(fatal,)), SKILLS)


def test_few_and_repeated_rows_are_pointed_out() -> None:
    few = make_advice(with_data(facts(), rows=30, duplicates=10), SKILLS)
    said = " ".join(warning.en for warning in few.warnings)
    assert "30 rows are very few" in said
    assert "10 of 30 rows repeat" in said


def test_little_host_memory_and_disk_are_pointed_out() -> None:
    small = cards(4, "NVIDIA A100-SXM4-80GB", 80, 312).model_copy(
        update={"ram_gib": 32.0, "free_disk_gib": 0.1}
    )
    advice = make_advice(facts("4xa100", "7b").model_copy(update={"machine": small}), SKILLS)
    said = " ".join(warning.en for warning in advice.warnings)
    assert "host memory" in said
    assert "disk" in said


def test_fields_that_were_asked_for_are_kept_and_the_rest_fits_around_them() -> None:
    change = PlanChange.set(data__max_length=2048, optim__learning_rate=1e-3)
    advice = make_advice(facts("3090", "7b", "20k"), SKILLS, change=change)
    assert advice.plan.data.max_length == 2048
    assert advice.plan.optim.learning_rate == 1e-3
    assert advice.forecast.fits == "yes"
    assert advice.why["optim.learning_rate"].source == "your request"
    alternative = advice.why["optim.learning_rate"].alternative
    assert alternative is not None
    assert "0.0002" in alternative.en


def test_a_parameter_chooses_the_skill_that_has_it() -> None:
    advice = make_advice(facts(), SKILLS, change=PlanChange.set(params__train_last=4))
    assert advice.plan.skill == "layer-freezing"
    assert advice.plan.params["train_last"] == 4
    with pytest.raises(InvalidPlanError, match="Known: alpha"):
        make_advice(facts(), SKILLS, change=PlanChange.set(params__wings=2))


def test_impossible_fields_are_refused_at_once() -> None:
    with pytest.raises(NotPossibleError, match="8 CPU cores"):
        make_advice(facts(), SKILLS, change=PlanChange.set(launch__processes=9))
    with pytest.raises(NotPossibleError, match="bf16"):
        make_advice(facts("t4"), SKILLS, change=PlanChange.set(model__dtype="bf16"))
    with pytest.raises(InvalidPlanError, match="no field"):
        make_advice(facts(), SKILLS, change=PlanChange.set(optim__speed=9))


def test_devices_that_training_does_not_use_are_left_out() -> None:
    card = (
        facts("3090")
        .machine.accelerators[0]
        .model_copy(update={"vendor": "ascend", "name": "Ascend 910B"})
    )
    machine = facts("3090").machine.model_copy(update={"accelerators": (card,)})
    advice = make_advice(facts().model_copy(update={"machine": machine}), SKILLS)
    assert advice.plan.model.dtype == "fp32"
    assert any("Ascend 910B" in warning.en for warning in advice.warnings)
