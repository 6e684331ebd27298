"""A run resumed at any step is bit-equal to the one that was never interrupted."""

from __future__ import annotations

import shutil
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
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "lora, dropout, accumulation": (
        "lora",
        {"params__dropout": 0.2, "optim__micro_batch": 2, "optim__accumulate": 2},
    ),
    "lora, packed": (
        "lora",
        {"data__packing": True, "data__max_length": 40, "optim__micro_batch": 2},
    ),
    "lora, by length": ("lora", {"data__batching": "by_length"}),
    "lora, stable then decay": ("lora", {"optim__schedule": "warmup_stable_decay"}),
    "full": ("full-fine-tuning", {"optim__deterministic": True}),
    "freezing": ("layer-freezing", {}),
}


@pytest.mark.parametrize("case", CASES)
def test_a_resume_at_any_step_is_bit_equal(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    skill, changes = CASES[case]
    monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", STEPS)
    whole = tiny.make_run(tmp_path, skill, "whole", **{**COMMON, **changes})
    assert tiny.train_here(monkeypatch, whole, llama) == 0, tiny.ending(whole)
    told = [event.payload for event in tiny.events(whole, "step")]
    weights = tiny.weights(whole / "result")
    epochs = {int(payload["epoch"]) for payload in told}
    assert len(told) == STEPS
    assert len(epochs) > 1
    for step in range(1, STEPS):
        name = f"from{step}"
        shutil.copy(tmp_path / "whole.jsonl", tmp_path / f"{name}.jsonl")
        again = tiny.make_run(tmp_path, skill, name, **{**COMMON, **changes})
        start = whole / "checkpoints" / f"checkpoint-{step}"
        assert tiny.train_here(monkeypatch, again, llama, start) == 0, tiny.ending(again)
        for before, after in zip(told[step:], tiny.events(again, "step"), strict=True):
            for figure in ("loss", "grad_norm", "learning_rate", "epoch", "tokens"):
                assert after.payload[figure] == before[figure], (step, after.step, figure)
        found = tiny.weights(again / "result")
        assert all(torch.equal(weights[name], found[name]) for name in weights), step
