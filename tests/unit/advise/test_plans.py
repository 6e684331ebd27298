from __future__ import annotations

import functools
import itertools
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.unit.advise.situations import DATA, MACHINES, MODELS, facts
from tutor_agent.advise.planner import make_advice
from tutor_agent.core.changes import flatten
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.plan import Plan
from tutor_agent.core.text import Text, detect_language
from tutor_agent.library.cards import load_cards
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice

SKILLS = find_skills()
SNAPSHOTS = Path(__file__).parent / "snapshots.json"
GRID = list(itertools.product(MACHINES, MODELS, DATA))
IDS = ["-".join(case) for case in GRID]
SHOWN = (
    "skill",
    "params.targets",
    "params.train_last",
    "params.quantization",
    "model.dtype",
    "model.attention",
    "model.liger",
    "data.max_length",
    "data.packing",
    "data.batching",
    "optim.optimizer",
    "optim.learning_rate",
    "optim.epochs",
    "optim.micro_batch",
    "optim.accumulate",
    "launch.processes",
    "launch.sharding",
    "launch.checkpointing",
    "evaluation.max_rows",
)


@functools.cache
def advice_or_none(machine: str, model: str, data: str) -> Advice | None:
    try:
        return make_advice(facts(machine, model, data), SKILLS)
    except NotPossibleError:
        return None


def is_bilingual(text: Text) -> bool:
    return bool(text.en) and detect_language(text.en) == "en" and detect_language(text.zh) == "zh"


def shown(advice: Advice | None) -> dict[str, object] | str:
    """Return the part of a plan that a snapshot keeps."""
    if advice is None:
        return "does not fit"
    values = flatten(advice.plan)
    return {path: values[path] for path in SHOWN if path in values} | {
        "fits": advice.forecast.fits,
        "candidates": [f"{c.skill}: {c.forecast.fits}" for c in advice.candidates],
    }


def test_plans_are_as_recorded() -> None:
    """Run `python tests/unit/advise/test_plans.py` from the project to record them anew, and read the difference."""
    recorded = json.loads(SNAPSHOTS.read_text(encoding="utf-8"))
    for name, case in zip(IDS, GRID, strict=True):
        assert recorded[name] == shown(advice_or_none(*case)), name


@pytest.mark.parametrize("case", GRID, ids=IDS)
def test_what_is_recommended_fits_and_is_explained(case: tuple[str, str, str]) -> None:
    advice = advice_or_none(*case)
    if advice is None:
        assert case[1] != "135m"
        return
    assert advice.forecast.fits in {"yes", "tight"}
    if advice.forecast.fits == "tight":
        assert any("tight" in warning.en for warning in advice.warnings)
    recommended = [c for c in advice.candidates if c.recommended]
    assert [c.skill for c in recommended] == [advice.plan.skill]
    assert recommended[0] == advice.candidates[0]
    assert recommended[0].forecast == advice.forecast
    assert {c.skill for c in advice.candidates} == {s.name for s in SKILLS.stage("train")}
    better = [c for c in advice.candidates if c.forecast.fits == "yes"]
    assert advice.forecast.fits == "yes" or not better
    assert set(advice.why) == set(flatten(advice.plan))
    for path, why in advice.why.items():
        assert is_bilingual(why.reason), path
        assert why.source, path
        assert why.alternative is None or is_bilingual(why.alternative), path
    for text in (*advice.warnings, *(c.verdict for c in advice.candidates)):
        assert is_bilingual(text), text


@pytest.mark.parametrize("case", GRID, ids=IDS)
def test_the_plan_suits_the_machine_and_the_data(case: tuple[str, str, str]) -> None:
    advice = advice_or_none(*case)
    if advice is None:
        return
    plan, machine = advice.plan, MACHINES[case[0]]
    assert plan.launch.processes == max(1, len(machine.accelerators))
    assert advice.forecast.steps >= 50
    assert plan.effective_batch <= 64
    cards = machine.accelerators
    expected = "fp32" if not cards else ("bf16" if cards[0].bf16 else "fp16")
    assert plan.model.dtype == expected
    assert 1 <= plan.optim.epochs <= 3
    assert plan.launch.sharding == "none" or plan.world_size > 1
    if plan.skill == "lora":
        assert 1e-4 <= plan.optim.learning_rate <= 2e-4
        assert plan.params["targets"] == ("attention" if case[1] == "v2-lite" else "all-linear")
    else:
        assert plan.optim.learning_rate <= 1e-4
    if not cards:
        assert plan.optim.micro_batch <= 4
        assert plan.data.max_length <= 512
        assert plan.evaluation.max_rows <= 100
    Plan.parse(plan.model_dump(mode="json"), "round trip")


def test_few_rows_keep_many_steps() -> None:
    advice = make_advice(facts("8xh100", "7b", "300"), SKILLS)
    assert advice.plan.effective_batch <= 16
    assert advice.forecast.steps >= 50


def test_every_field_has_a_card_that_exists() -> None:
    known = {card.id for card in load_cards()}
    for data, model in itertools.product(DATA, ("135m", "v2-lite")):
        advice = make_advice(facts("4xa100", model, data), SKILLS)
        for path, why in advice.why.items():
            assert why.card is None or why.card in known, f"{path}: {why.card}"


@pytest.mark.parametrize(
    "path",
    [
        "optim.learning_rate",
        "optim.accumulate",
        "optim.epochs",
        "params.dropout",
        "optim.warmup",
        "optim.weight_decay",
        "evaluation.every",
        "data.holdout",
    ],
)
def test_where_the_guide_gives_a_number_the_reason_names_it(path: str) -> None:
    why = make_advice(facts("3090", "7b", "300"), SKILLS).why[path]
    assert "guide" in f"{why.reason.en} {why.source}"
    assert why.alternative is not None


def test_continued_training_on_much_text_moves_all_weights() -> None:
    much = facts("8xh100", "7b", "text")
    lengths = much.data.lengths.model_copy(update={"total": 60_000_000})
    data = much.data.model_copy(update={"lengths": lengths, "rows": 120_000})
    advice = make_advice(much.model_copy(update={"data": data}), SKILLS)
    assert advice.plan.skill == "full-fine-tuning"
    assert advice.plan.data.supervise == "all"
    assert advice.plan.data.packing
    assert advice.plan.optim.epochs == 1
    assert advice.plan.launch.sharding == "fsdp2"


def test_wishes_change_the_method() -> None:
    quality = make_advice(facts("4xa100", "135m", "20k", wish="quality"), SKILLS)
    assert quality.plan.skill == "full-fine-tuning"
    speed = make_advice(facts("laptop", "135m", "20k", wish="speed"), SKILLS)
    assert speed.plan.skill == "layer-freezing"
    balanced = make_advice(facts("laptop", "135m", "20k"), SKILLS)
    assert balanced.plan.skill == "lora"
    assert balanced.why["skill"].assumed
    assert not quality.why["skill"].assumed


def test_what_was_not_said_is_marked_assumed() -> None:
    silent = make_advice(facts(), SKILLS)
    said = make_advice(facts(task="qa", wish="balanced"), SKILLS)
    assert flatten(silent.plan) == flatten(said.plan)
    assumed = {path for path, why in silent.why.items() if why.assumed}
    assert {"task", "skill", "optim.epochs", "evaluation.metrics"} <= assumed
    assert not any(why.assumed for why in said.why.values())


@pytest.mark.parametrize(
    ("task", "metric"),
    [("classification", "accuracy"), ("qa", "exact_match"), ("chat", "perplexity")],
)
def test_metrics_follow_the_task(task: str, metric: str) -> None:
    plan = make_advice(facts(task=task), SKILLS).plan
    assert plan.evaluation.metrics[0] == metric
    assert plan.task == task


def test_a_time_limit_shortens_the_run_and_says_so() -> None:
    advice = make_advice(facts("laptop", "135m", "20k", max_hours=0.5), SKILLS)
    assert advice.forecast.hours.expected <= 0.55
    assert advice.plan.data.limit is not None
    assert any("0.5 hours" in warning.en for warning in advice.warnings)
    assert "0.5 hours" in advice.why["data.limit"].reason.en
    assert advice.forecast.steps >= 50


def test_the_name_comes_from_the_data_or_the_task() -> None:
    assert make_advice(facts(), SKILLS).plan.name == "support-bot"
    assert make_advice(facts(), SKILLS, name="My Bot 2!").plan.name == "my-bot-2"
    chinese = facts()
    data = chinese.data.model_copy(update={"path": "/数据/客服问答.csv"})
    assert make_advice(chinese.model_copy(update={"data": data}), SKILLS).plan.name == "qa-tuning"


def _record() -> None:
    found = {name: shown(advice_or_none(*case)) for name, case in zip(IDS, GRID, strict=True)}
    text = json.dumps(found, indent=1, ensure_ascii=False)
    SNAPSHOTS.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    _record()
