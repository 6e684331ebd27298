"""What is advised where a GPU and the packages for it are there, and what is refused or warned of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.advise.situations import RIG, facts
from tests.unit.estimate.known import cards
from tutor_agent.advise.planner import make_advice, revise
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.facts import Column, Facts, Machine
from tutor_agent.core.metric_names import METRICS, TASK_METRICS
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice

SKILLS = find_skills()


def on(machine: Machine, found: Facts) -> Facts:
    return found.model_copy(update={"machine": machine})


def classes(count: int, rows: int = 3000, **goal: Any) -> Facts:
    """Return facts of labelled texts with so many different labels."""
    found = facts("3090", "135m", "300", **goal)
    data = found.data.model_copy(
        update={
            "rows": rows,
            "format": "labelled",
            "task": "classification",
            "columns": (Column(name="t", longest=900), Column(name="l", distinct=count, longest=9)),
            "roles": {"text": "t", "label": "l"},
        }
    )
    return found.model_copy(update={"data": data})


def revised(found: Facts, **change: Any) -> Advice:
    advice = make_advice(found, SKILLS)
    return revise(advice.plan, advice.why, PlanChange.set(**change), found, SKILLS)


def said(advice: Advice) -> str:
    return " ".join(warning.en for warning in advice.warnings)


def test_kernels_are_advised_where_they_are_installed_and_can_run() -> None:
    packed = make_advice(facts("rig", "7b", "20k"), SKILLS).plan
    assert (packed.model.attention, packed.model.liger) == ("flash", True)
    short = make_advice(facts("rig", "7b", "300"), SKILLS).plan
    assert short.model.attention == "sdpa", "short, unpacked samples gain nothing"
    bare = make_advice(facts("3090", "7b", "20k"), SKILLS)
    assert (bare.plan.model.attention, bare.plan.model.liger) == ("sdpa", False)
    assert "liger-kernel" in bare.why["model.liger"].reason.en
    assert not make_advice(facts("laptop"), SKILLS).plan.model.liger


def test_an_old_gpu_and_an_unknown_model_get_no_kernels() -> None:
    old = RIG.accelerators[0].model_copy(update={"capability": "7.5"})
    machine = RIG.model_copy(update={"accelerators": (old,)})
    assert (
        make_advice(on(machine, facts("rig", "7b", "20k")), SKILLS).plan.model.attention == "sdpa"
    )
    found = facts("rig", "135m", "20k")
    odd = found.model_copy(update={"model": found.model.model_copy(update={"model_type": "odd"})})
    assert not make_advice(odd, SKILLS).plan.model.liger


def test_flash_needs_no_mask() -> None:
    with_kernels = make_advice(facts("rig", "7b", "20k"), SKILLS).forecast
    without = make_advice(facts("3090", "7b", "20k"), SKILLS).forecast
    assert with_kernels.parts["work"] < without.parts["work"]


def large(packages: dict[str, str] | None = None) -> Facts:
    """Return facts of a model whose 16-bit weights do not fit the card."""
    machine = cards(1, "NVIDIA A10", 12, 125).model_copy(update={"packages": packages or {}})
    return on(machine, facts("3090", "7b", "300"))


def test_qlora_is_taken_where_lora_cannot_fit() -> None:
    advice = make_advice(large({"bitsandbytes": "0.50.2"}), SKILLS)
    assert advice.plan.skill == "lora"
    assert advice.plan.params["quantization"] == "nf4"
    assert advice.plan.optim.max_grad_norm == 0.3
    assert advice.forecast.fits == "yes"
    why = advice.why["params.quantization"]
    assert "GiB" in why.reason.en
    assert why.card == "qlora"
    roomy = make_advice(facts("rig", "7b", "300"), SKILLS).plan
    assert roomy.params["quantization"] == "none"
    assert roomy.optim.max_grad_norm == 1.0


def test_without_bitsandbytes_qlora_is_a_way_out() -> None:
    with pytest.raises(NotPossibleError, match="once bitsandbytes is installed") as caught:
        make_advice(large(), SKILLS)
    assert "需先安装 bitsandbytes" in caught.value.text.zh


def test_a_machine_in_words_is_told_what_it_needs() -> None:
    found = large()
    described = found.machine.model_copy(update={"described": True})
    advice = make_advice(on(described, found), SKILLS)
    assert advice.plan.params["quantization"] == "nf4"
    assert "needs the package bitsandbytes" in advice.why["params.quantization"].reason.en
    assert "not installed" not in said(advice)


def test_qlora_asked_for_on_another_method_brings_lora() -> None:
    advice = revised(facts("laptop", skill="full-fine-tuning"), params__quantization="nf4")
    assert advice.plan.skill == "lora"
    assert "on a CPU" in said(advice)
    with pytest.raises(NotPossibleError, match="cannot be trained"):
        revised(facts("rig", "135m"), skill="full-fine-tuning", params__quantization="nf4")
    with pytest.raises(NotPossibleError, match="not split over GPUs"):
        revised(facts("4xa100"), params__quantization="nf4", launch__sharding="fsdp2")


def test_trackers_compilation_and_determinism_come_only_when_asked_for() -> None:
    for machine in ("laptop", "rig"):
        plan = make_advice(facts(machine, "135m", "20k"), SKILLS).plan
        assert plan.trackers == ()
        assert not plan.optim.deterministic
        assert not plan.model.compile
    advice = make_advice(facts(), SKILLS, change=PlanChange.set(optim__deterministic=True))
    assert advice.plan.optim.deterministic
    assert "You asked" in advice.why["optim.deterministic"].reason.en


def test_batches_follow_the_lengths() -> None:
    varied = make_advice(facts("3090", "135m", "300"), SKILLS)
    assert varied.plan.data.batching == "by_length"
    assert "padding" in varied.why["data.batching"].reason.en
    found = facts("3090", "135m", "300")
    lengths = found.data.lengths.model_copy(update={"p50": 100, "p95": 104, "longest": 110})
    lengths = lengths.model_copy(update={"total": 100 * found.data.rows})
    alike = found.model_copy(update={"data": found.data.model_copy(update={"lengths": lengths})})
    assert make_advice(alike, SKILLS).plan.data.batching == "random"
    assert make_advice(facts("3090", "135m", "20k"), SKILLS).plan.data.packing


def test_sparse_attention_is_never_packed() -> None:
    found = facts("8xh100", "7b", "20k")
    assert make_advice(found, SKILLS).plan.data.packing
    sparse = found.model.model_copy(update={"model_type": "deepseek_v32"})
    found = found.model_copy(update={"model": sparse})
    advice = make_advice(found, SKILLS)
    assert not advice.plan.data.packing
    assert "look across packed" in advice.why["data.packing"].reason.en
    assert "would stop at its start" in said(revised(found, data__packing=True))


def test_on_a_cpu_nothing_is_padded() -> None:
    advice = make_advice(facts("laptop", "135m", "300"), SKILLS)
    assert advice.plan.data.batching == "random"
    assert "nothing is padded" in advice.why["data.batching"].reason.en


def test_liger_on_experts_is_left_to_the_person() -> None:
    machine = cards(4, "NVIDIA A100-SXM4-80GB", 80, 312)
    machine = machine.model_copy(update={"packages": {"liger-kernel": "0.8.5"}})
    advice = make_advice(on(machine, facts("4xa100", "v2-lite", "300")), SKILLS)
    assert not advice.plan.model.liger
    assert "not been measured" in advice.why["model.liger"].reason.en


def test_many_classes_get_a_head_of_their_own() -> None:
    few, many = make_advice(classes(4), SKILLS), make_advice(classes(60), SKILLS)
    assert few.plan.model.head == "language_model"
    assert "4 short labels" in few.why["model.head"].reason.en
    assert few.plan.evaluation.generated_rows > 0
    assert many.plan.model.head == "classifier"
    assert not many.plan.data.packing
    assert many.plan.evaluation.generated_rows == 0
    assert many.forecast.parts["loss"] == 0
    answers = make_advice(classes(2900), SKILLS)
    assert answers.plan.model.head == "language_model", "nearly as many as rows: no classes"


@pytest.mark.parametrize("task", list(TASK_METRICS))
def test_a_task_is_judged_by_its_own_metrics(task: str) -> None:
    advice = make_advice(facts(task=task), SKILLS)
    names = advice.plan.evaluation.metrics
    assert names == TASK_METRICS[task]  # type: ignore[index]
    written = any(METRICS[name].answers for name in names)
    assert bool(advice.plan.evaluation.generated_rows) == written


def test_much_text_gets_a_schedule_that_can_be_prolonged() -> None:
    found = facts("8xh100", "7b", "text")
    assert make_advice(found, SKILLS).plan.optim.schedule == "cosine"
    lengths = found.data.lengths.model_copy(update={"total": 60_000_000})
    data = found.data.model_copy(update={"lengths": lengths, "rows": 120_000})
    much = make_advice(found.model_copy(update={"data": data}), SKILLS)
    assert much.plan.optim.schedule == "warmup_stable_decay"


def test_small_states_are_taken_only_where_plain_adamw_cannot_fit() -> None:
    def full(memory_gib: float) -> Advice:
        machine = cards(1, "NVIDIA A100-SXM4-80GB", memory_gib, 312)
        machine = machine.model_copy(update={"packages": {"bitsandbytes": "0.50.2"}})
        return make_advice(on(machine, facts("3090", "7b", skill="full-fine-tuning")), SKILLS)

    roomy = full(200.0)
    assert roomy.plan.optim.optimizer == "adamw"
    small = full(110.0)
    assert small.plan.optim.optimizer in {"adamw_8bit", "paged_adamw_8bit"}
    assert small.forecast.fits == "yes"
    assert small.why["optim.optimizer"].card == "eight-bit-optimizers"


@pytest.mark.parametrize(
    ("machine", "change", "message"),
    [
        ("laptop", {"model__liger": True}, "written in Triton"),
        ("laptop", {"model__attention": "flex"}, "'flex' needs a GPU"),
        ("rig", {"model__attention": "flash", "model__dtype": "fp32"}, "16 bits only"),
        ("t4", {"model__attention": "flash"}, "NVIDIA T4 is older"),
        ("3090", {"model__head": "classifier"}, "the task is 'qa'"),
    ],
)
def test_what_cannot_go_together_is_refused(
    machine: str, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(NotPossibleError, match=message) as caught:
        revised(facts(machine), **change)
    assert "请" in caught.value.text.zh


@pytest.mark.parametrize(
    ("machine", "change", "warning"),
    [
        ("3090", {"model__attention": "flash"}, "pip install flash-attn"),
        ("3090", {"model__liger": True}, "pip install liger-kernel"),
        ("3090", {"optim__optimizer": "adamw_8bit"}, "pip install bitsandbytes"),
        ("4xa100", {"launch__sharding": "zero3"}, "pip install deepspeed"),
        ("laptop", {"trackers": ["swanlab"]}, "pip install swanlab"),
        ("rig", {"trackers": ["wandb"]}, "WANDB_MODE=offline"),
        ("laptop", {"model__compile": True}, "takes minutes"),
        ("3090", {"model__compile": True}, "without data.packing"),
        ("laptop", {"evaluation__generated_rows": 0}, "cannot be measured"),
        ("laptop", {"evaluation__metrics": ["blue"]}, "there is no blue"),
    ],
)
def test_what_will_not_work_is_said_before_the_run(
    machine: str, change: dict[str, Any], warning: str
) -> None:
    advice = revised(facts(machine), **change)
    assert warning in said(advice)
    assert all(text.zh != text.en for text in advice.warnings)


def test_what_is_installed_is_not_warned_of() -> None:
    change = {"model__attention": "flash", "optim__optimizer": "adamw_8bit"}
    assert "not installed" not in said(revised(facts("rig", "135m"), **change))


def test_a_classifier_head_takes_packing_along() -> None:
    found = classes(4, rows=30_000, task="classification")
    assert make_advice(found, SKILLS).plan.data.packing
    advice = revised(found, model__head="classifier")
    assert not advice.plan.data.packing
    assert advice.plan.data.batching == "by_length"
    assert "moved along" in said(advice)
    assert "classifier head" in advice.why["data.packing"].reason.en
    with pytest.raises(NotPossibleError, match="last token"):
        revised(found, model__head="classifier", data__packing=True)


def test_a_parameter_of_another_skill_brings_that_skill() -> None:
    found = facts("laptop", skill="layer-freezing")
    advice = revised(found, params__r=8)
    assert advice.plan.skill == "lora"
    assert advice.plan.params["r"] == 8
