"""A run resumed at any step is bit-equal to the one that was never interrupted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train

STEPS = 9
# Five steps an epoch: the steps cross a border between epochs, and every one of them has a checkpoint.
COMMON: dict[str, Any] = {
    "data__limit": 24,
    "optim__max_steps": STEPS,
    "optim__schedule": "cosine",
    "evaluation__every": 1,
    "evaluation__keep": "last",
    "evaluation__samples": 0,
    "evaluation__generated_rows": 0,
}
CUT = {"optim__micro_batch": 2, "optim__accumulate": 2}
PACKED = {"data__packing": True, "data__max_length": 40}
BY_LENGTH = {"data__batching": "by_length"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora, dropout, accumulation": ("lora", {"params__dropout": 0.2, **CUT}),
    "lora, packed, dropout": (
        "lora",
        {**PACKED, "params__dropout": 0.2, "optim__micro_batch": 2},
    ),
    "lora, by length": ("lora", {**BY_LENGTH, "optim__schedule": "warmup_stable_decay"}),
    "full, packed, accumulation": (
        "full-fine-tuning",
        {**PACKED, "optim__micro_batch": 1, "optim__accumulate": 2, "optim__deterministic": True},
    ),
    "full, recomputed, by length, accumulation": (
        "full-fine-tuning",
        {**BY_LENGTH, **CUT, "launch__checkpointing": True},
    ),
    "freezing, by length": ("layer-freezing", BY_LENGTH),
    "freezing, packed": ("layer-freezing", {**PACKED, "optim__micro_batch": 2}),
}


def _equal_from(monkeypatch: pytest.MonkeyPatch, whole: Path, again: Path, model: Path) -> None:
    """Resume `whole` in `again` at the step in its name, and compare all that it learns."""
    step = int(again.name.removeprefix("from").removesuffix("-1"))
    start = whole / "checkpoints" / f"checkpoint-{step}"
    assert tiny.train_here(monkeypatch, again, model, start) == 0, tiny.ending(again)
    told, found = tiny.events(whole, "step"), tiny.events(again, "step")
    for before, after in zip(told[step:], found, strict=True):
        for figure in ("loss", "grad_norm", "learning_rate", "epoch", "tokens"):
            assert after.payload[figure] == before.payload[figure], (step, after.step, figure)
    last = f"checkpoints/checkpoint-{told[-1].step}"
    assert tiny.same_state(whole / last, again / last), step


@pytest.mark.parametrize("case", CASES)
def test_a_resume_at_any_step_is_bit_equal(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    skill, changes = CASES[case]
    changes = {**COMMON, **changes}
    monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", STEPS)
    whole = tiny.make_run(tmp_path, skill, "whole", **changes)
    assert tiny.train_here(monkeypatch, whole, llama) == 0, tiny.ending(whole)
    told = tiny.events(whole, "step")
    assert len(told) == STEPS
    assert len({int(event.number("epoch") or 0) for event in told}) > 1
    for step in range(1, STEPS):
        again = tiny.make_run(tmp_path, skill, f"from{step}", **changes)
        _equal_from(monkeypatch, whole, again, llama)


@pytest.mark.parametrize("skill", ["full-fine-tuning", "lora"])
@pytest.mark.parametrize("kind", ["deepseek_v2", "deepseek_v3"])
def test_experts_come_back_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, skill: str
) -> None:
    model = tiny.save_model(tmp_path / "model", kind)
    changes = {**COMMON, "evaluation__every": 4}
    monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", STEPS)
    whole = tiny.make_run(tmp_path, skill, "whole", **changes)
    assert tiny.train_here(monkeypatch, whole, model) == 0, tiny.ending(whole)
    again = tiny.make_run(tmp_path, skill, "from4", **changes)
    _equal_from(monkeypatch, whole, again, model)
    one, two = tiny.weights(whole / "result"), tiny.weights(again / "result")
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert any(".experts." in name for name in one)


def test_a_checkpoint_of_another_model_is_refused(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tiny.save_model(tmp_path / "model", "deepseek_v3")
    first = tiny.make_run(tmp_path, "full-fine-tuning", "first")
    assert tiny.train_here(monkeypatch, first, other) == 0
    second = tiny.make_run(tmp_path, "full-fine-tuning", "second")
    start = first / "checkpoints" / "checkpoint-3"
    assert tiny.train_here(monkeypatch, second, llama, start) == 1
    assert "these weights are missing or unknown" in tiny.ending(second)["text_en"]
    assert not tiny.events(second, "step")
