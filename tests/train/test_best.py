"""What is kept is the best, bit for bit; a seed decides everything, and nothing else does."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from tests.train import tiny
from tutor_agent.training.trainer import TutorTrainer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.train

# Validation losses by step: the best is neither the first nor the last, and one is no number.
CURVE = [math.nan, 3.1, 3.0, 2.9, 2.95, math.nan, 2.97, 2.96, 2.98]
BEST = 3
LONG = {"optim__max_steps": 8, "evaluation__every": 1}


@pytest.fixture
def curve(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let validation find what `CURVE` says, whatever was learnt."""
    monkeypatch.setattr(
        TutorTrainer, "judge", lambda self, items: {"loss": CURVE[self.state.global_step]}
    )


@pytest.fixture(autouse=True)
def _algorithms() -> Iterator[None]:
    yield
    torch.use_deterministic_algorithms(False)


def _weights(folder: Path, skill: str) -> dict[str, torch.Tensor]:
    """Return the weights in `folder` as whoever loads them gets them."""
    if skill == "lora":
        return tiny.weights(folder)
    return dict(transformers.AutoModelForCausalLM.from_pretrained(folder).state_dict())


@pytest.mark.parametrize(
    ("skill", "kind"),
    [
        ("lora", "llama"),
        ("full-fine-tuning", "llama"),
        ("layer-freezing", "llama"),
        ("full-fine-tuning", "deepseek_v3"),
        ("lora", "deepseek_v3"),
    ],
)
@pytest.mark.parametrize("patience", [None, 2])
@pytest.mark.usefixtures("curve")
def test_the_result_is_the_best_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skill: str, kind: str, patience: int | None
) -> None:
    model = tiny.save_model(tmp_path / "model", kind)
    run = tiny.make_run(tmp_path, skill, **LONG, evaluation__early_stopping=patience)
    assert tiny.train_here(monkeypatch, run, model) == 0
    end = tiny.ending(run)
    assert end["state"] == "completed", end
    assert (end["best_step"], end["best_loss"]) == (BEST, CURVE[BEST])
    steps = tiny.events(run, "step")[-1].step
    assert steps == (BEST + patience if patience else LONG["optim__max_steps"])
    kept = _weights(run / "checkpoints" / f"checkpoint-{BEST}", skill)
    last = _weights(run / "checkpoints" / f"checkpoint-{steps}", skill)
    result = _weights(run / "result", skill)
    assert result.keys() == kept.keys()
    assert all(torch.equal(result[name], kept[name]) for name in kept)
    assert not all(torch.equal(result[name], last[name]) for name in last)


@pytest.mark.usefixtures("curve")
def test_the_last_is_kept_when_the_plan_says_so(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, **LONG, evaluation__keep="last")
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["best_step"] == BEST
    last, result = tiny.weights(run / "checkpoints/checkpoint-8"), tiny.weights(run / "result")
    assert all(torch.equal(result[name], last[name]) for name in last)


@pytest.mark.usefixtures("curve")
def test_patience_and_the_best_survive_a_resume(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", 9)
    whole = tiny.make_run(tmp_path, name="whole", **LONG)
    assert tiny.train_here(monkeypatch, whole, llama) == 0
    again = tiny.make_run(tmp_path, name="again", **LONG, evaluation__early_stopping=2)
    start = whole / "checkpoints" / "checkpoint-4"
    assert tiny.train_here(monkeypatch, again, llama, start) == 0
    assert [event.step for event in tiny.events(again, "step")] == [BEST + 2]
    best, result = tiny.weights(whole / "checkpoints/checkpoint-3"), tiny.weights(again / "result")
    assert all(torch.equal(result[name], best[name]) for name in best)


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
@pytest.mark.parametrize(
    "batches",
    [{}, {"data__batching": "by_length"}, {"data__packing": True, "data__max_length": 48}],
)
def test_a_seed_gives_the_same_bits_and_another_seed_another_order(
    tmp_path: Path,
    llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    skill: str,
    batches: dict[str, Any],
) -> None:
    runs = [
        tiny.make_run(tmp_path, skill, name, optim__seed=seed, optim__max_steps=4, **batches)
        for name, seed in (("one", 7), ("two", 7), ("other", 8))
    ]
    for run in runs:
        assert tiny.train_here(monkeypatch, run, llama) == 0
        # What ran before in this process must not matter.
        torch.rand(3)
    one, two, other = runs
    assert tiny.losses(one) == tiny.losses(two) != tiny.losses(other)
    read = [[event.payload["tokens"] for event in tiny.events(run, "step")] for run in runs]
    assert read[0] == read[1] != read[2]
    first, second = tiny.weights(one / "result"), tiny.weights(two / "result")
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("deterministic", [True, False])
def test_only_deterministic_algorithms_when_the_plan_says_so(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, deterministic: bool
) -> None:
    run = tiny.make_run(tmp_path, optim__deterministic=deterministic)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert torch.are_deterministic_algorithms_enabled() is deterministic
