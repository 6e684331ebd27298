"""The plan on disk and its changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.changes import Entry, PlanChange, apply, diff, flatten
from tutor_agent.core.errors import InvalidPlanError, NotFoundError, UnreadableError
from tutor_agent.core.plan import DataChoice, LaunchChoice, ModelChoice, OptimChoice, Plan

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def plan() -> Plan:
    return Plan(
        name="support-bot",
        skill="lora",
        params={"r": 16, "targets": ["q_proj", "o_proj"]},
        task="chat",
        model=ModelChoice(source="deepseek-ai/deepseek-llm-7b-chat"),
        data=DataChoice(train="问答.jsonl", columns={"prompt": "问题"}),
        optim=OptimChoice(learning_rate=2e-4, micro_batch=4, accumulate=2),
        launch=LaunchChoice(nodes=2, processes=4),
    )


def test_round_trip(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    plan.save(path)
    assert Plan.load(path) == plan
    assert "问题" in path.read_text(encoding="utf-8")
    assert path.read_text(encoding="utf-8").startswith("name: support-bot\nskill: lora\n")


def test_batch_counts_every_process(plan: Plan) -> None:
    assert (plan.world_size, plan.effective_batch) == (8, 64)


def test_unknown_key_names_the_nearest_and_the_file(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(plan.to_yaml().replace("learning_rate", "learning_rat"), encoding="utf-8")
    with pytest.raises(InvalidPlanError) as caught:
        Plan.load(path)
    message = caught.value.text
    assert "'optim.learning_rat'" in message.en
    assert "'learning_rate'" in message.en
    assert "plan.yaml" in message.zh


def test_missing_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="tutor plan"):
        Plan.load(tmp_path / "none.yaml")
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: [", encoding="utf-8")
    with pytest.raises(UnreadableError, match="YAML"):
        Plan.load(bad)


@pytest.mark.parametrize(
    ("path", "op", "value", "expected"),
    [
        ("optim.learning_rate", "set", 1e-5, 1e-5),
        ("optim.learning_rate", "multiply", 0.1, 2e-5),
        ("optim.micro_batch", "multiply", 0.5, 2),
        ("optim.micro_batch", "multiply", 0.01, 1),
        ("optim.epochs", "add", 1, 3.0),
        ("params.r", "set", 8, 8),
        ("params.dropout", "set", 0.1, 0.1),
        ("evaluation.metrics", "set", ["bleu"], ["bleu"]),
    ],
)
def test_apply(plan: Plan, path: str, op: str, value: object, expected: object) -> None:
    change = PlanChange.model_validate({"entries": [{"path": path, "op": op, "value": value}]})
    result = flatten(apply(plan, change))[path]
    assert result == (pytest.approx(expected) if isinstance(expected, float) else expected)
    assert change.paths == (path,)


def test_none_removes_an_open_key(plan: Plan) -> None:
    change = PlanChange(entries=(Entry(path="params.r", value=None),))
    assert apply(plan, change).params == {"targets": ["q_proj", "o_proj"]}


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (Entry(path="optim.lr", value=1), r"Nearest: .*optim\."),
        (Entry(path="optim.schedule", op="multiply", value=2), "only a number"),
        (Entry(path="optim.learning_rate", value=-1), "learning_rate = -1"),
        (Entry(path="name.x", value=1), "no field"),
    ],
)
def test_changes_that_are_refused(plan: Plan, entry: Entry, message: str) -> None:
    with pytest.raises(InvalidPlanError, match=message):
        apply(plan, PlanChange(entries=(entry,)))


def test_diff_turns_one_plan_into_the_other(plan: Plan) -> None:
    after = apply(
        plan, PlanChange.set(optim__learning_rate=1e-5, params__r=None, data__packing=True)
    )
    change = diff(plan, after)
    assert set(change.paths) == {"optim.learning_rate", "params.r", "data.packing"}
    assert apply(plan, change) == after
    assert diff(plan, plan).entries == ()
