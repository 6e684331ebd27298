"""A bad step never reaches the weights, and the scene tells what happened."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import TrainerCallback

from tests.train import tiny
from tutor_agent.core.checkpoints import is_good, last_good
from tutor_agent.training import session
from tutor_agent.training.guard import Guard, divergence_limit, losses_are_sane

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


class Poison(TrainerCallback):
    """Puts a NaN into one weight at the beginning of a step, as a cosmic ray would."""

    def __init__(self, step: int, *, heal: bool = False) -> None:
        self.step = step
        self.heal = heal
        self._kept: torch.Tensor | None = None

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        named = kwargs["model"].named_parameters()
        weight = next(weight for name, weight in named if "layers.1.mlp.up_proj" in name)
        if state.global_step == self.step:
            self._kept = weight.data.clone()
            weight.data.view(-1)[3] = float("nan")
        elif self.heal and self._kept is not None:
            weight.data.copy_(self._kept)
            self._kept = None


def _poisoned(monkeypatch: pytest.MonkeyPatch, callback: TrainerCallback) -> None:
    """Let every trainer that a script makes carry `callback`."""
    make = session.make_trainer

    def with_callback(*arguments: Any) -> Any:
        trainer = make(*arguments)
        trainer.add_callback(callback)
        return trainer

    monkeypatch.setattr(session, "make_trainer", with_callback)


def test_a_poisoned_weight_halts_before_the_step_and_keeps_the_scene(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path)
    _poisoned(monkeypatch, Poison(4))
    assert tiny.train_here(monkeypatch, run, llama) == 0
    (halted,) = tiny.events(run, "halted")
    assert halted.payload["reason"] == "non_finite_loss"
    assert halted.step == 4
    assert halted.payload["last_good"] == "checkpoints/checkpoint-3"
    assert tiny.ending(run)["state"] == "halted"
    assert len(tiny.events(run, "step")) == 4
    assert not list((run / "checkpoints").glob("checkpoint-4*"))
    good = last_good(run / "checkpoints")
    assert good is not None
    assert all(torch.isfinite(tensor).all() for tensor in tiny.weights(good).values())

    scene = json.loads((run / "scene" / "scene.json").read_text(encoding="utf-8"))
    assert scene["reason"] == "non_finite_loss"
    assert scene["step"] == 5
    assert "layers.1.mlp.up_proj" in scene["first_non_finite"]["module"]
    assert any("layers.1.mlp.up_proj" in name for name in scene["weights_non_finite"])
    assert 1 <= len(scene["rows"]) <= 4
    assert set(scene["row_losses"]) == {"nan"}
    samples = (run / "scene" / scene["files"]["samples"]).read_text(encoding="utf-8").splitlines()
    told = [json.loads(line) for line in samples]
    lines = (tmp_path / "tiny.jsonl").read_text(encoding="utf-8").splitlines()
    for sample in told:
        assert json.loads(lines[sample["row"] - 1])["answer"] in sample["text"]
    layers = json.loads((run / "scene" / scene["files"]["layers"]).read_text(encoding="utf-8"))
    assert layers["weights"]["base_model.model.model.norm.weight"]["dtype"] == "float32"
    assert (run / "scene" / scene["files"]["random"]).is_file()


def test_two_ranks_halt_together_and_one_signs_the_scene(tmp_path: Path, llama: Path) -> None:
    """An absurd learning rate: both ranks see it at the same step."""
    run = tiny.make_run(
        tmp_path,
        "full-fine-tuning",
        launch__processes=2,
        optim__micro_batch=2,
        optim__learning_rate=1000.0,
        optim__warmup=0,
        optim__max_steps=30,
        optim__schedule="constant",
    )
    process = tiny.start_ranks(run, llama, 2)
    assert process.wait(timeout=240) == 0
    assert tiny.ending(run)["state"] == "halted"
    assert (run / "scene" / "scene.json").is_file()
    assert (run / "scene" / "rank-1" / "scene.json").is_file()


def test_an_absurd_learning_rate_halts_as_diverged(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(
        tmp_path,
        "full-fine-tuning",
        optim__learning_rate=3.0,
        optim__warmup=0,
        optim__max_steps=30,
        optim__epochs=20,
        optim__schedule="constant",
        evaluation__every=1,
    )
    assert tiny.train_here(monkeypatch, run, llama) == 0
    end = tiny.ending(run)
    assert end["state"] == "halted"
    assert end["reason"] == "diverged"
    scene = json.loads((run / "scene" / "scene.json").read_text(encoding="utf-8"))
    assert scene["recent_losses"] == tiny.losses(run)[-len(scene["recent_losses"]) :]
    assert tiny.events(run, "run_ended")[0].step < 15
    wrong = [e.payload["path"] for e in tiny.events(run, "checkpoint") if not e.payload["good"]]
    assert wrong
    assert not any(is_good(run / str(path)) for path in wrong if (run / str(path)).exists())


def test_skipping_leaves_the_batch_out_and_goes_on(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, guard__non_finite="skip")
    _poisoned(monkeypatch, Poison(3, heal=True))
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.ending(run)["state"] == "completed"
    found = tiny.losses(run)
    assert len(found) == 6
    assert math.isnan(found[3])
    assert all(math.isfinite(loss) for i, loss in enumerate(found) if i != 3)
    notes = [event.payload["text_en"] for event in tiny.events(run, "note")]
    assert any("Step 4" in note for note in notes)
    assert all(torch.isfinite(t).all() for t in tiny.weights(run / "result").values())


def test_skipping_does_not_go_on_forever(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, guard__non_finite="skip", optim__max_steps=20, optim__epochs=20)
    _poisoned(monkeypatch, Poison(2))
    tiny.train_here(monkeypatch, run, llama)
    assert tiny.ending(run)["reason"] == "non_finite_loss"


def test_an_infinite_gradient_is_told_from_an_infinite_loss() -> None:
    guard = Guard(vocabulary=50)
    guard.saw({"tokens": torch.tensor([4])}, torch.tensor(2.0))
    assert guard.judge(math.inf) == "non_finite_gradient"


def test_a_gradient_scaler_may_look_for_its_scale() -> None:
    guard = Guard(vocabulary=50, scaled=True)
    verdicts = []
    for _ in range(25):
        guard.saw({"tokens": torch.tensor([4])}, torch.tensor(2.0))
        verdicts.append(guard.judge(math.inf))
        guard.next_step()
    assert verdicts[:20] == ["go"] * 20
    assert verdicts[-1] == "non_finite_gradient"


@pytest.mark.parametrize(
    ("losses", "sane"),
    [
        ([], True),
        ([3.0, 2.5, 2.0, 1.8, 1.7, 1.6], True),
        ([3.0, 2.5, 2.0, 1.8, 1.7, 1.6, 2.4, 1.5], True),
        ([3.0, 2.5, 2.0, 1.8, 1.7, 6.0, 7.0, 8.0], False),
        ([0.02, 0.01, 0.02, 0.01, 0.01, 0.3, 0.01], True),
    ],
)
def test_a_checkpoint_is_trusted_while_the_loss_is_near_its_best(
    losses: list[float], *, sane: bool
) -> None:
    assert losses_are_sane(losses) == sane


@pytest.mark.parametrize(
    ("first", "limit"), [(3.0, 10.26), (0.5, 10.26), (8.0, 11.80), (10.9, 11.90)]
)
def test_divergence_means_back_at_guessing_or_worse(first: float, limit: float) -> None:
    assert divergence_limit(49152, first) == pytest.approx(limit, abs=0.01)
