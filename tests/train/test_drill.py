"""The first checkpoint is read back; one that is not what was in memory ends the run with a clear word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
import transformers

from tests.train import several, tiny
from tutor_agent.core.checkpoints import last_good
from tutor_agent.training.drill import read_back

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


@pytest.mark.parametrize("kind", ["llama", "deepseek_v3"])
@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning", "layer-freezing"])
def test_only_the_first_checkpoint_is_drilled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skill: str, kind: str
) -> None:
    model = tiny.save_model(tmp_path / "model", kind)
    run = tiny.make_run(tmp_path, skill, evaluation__every=2)
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    saved = tiny.events(run, "checkpoint")
    assert [event.payload["drilled"] for event in saved] == [True, False, False]
    assert all(event.payload["good"] for event in saved)


@pytest.mark.parametrize(
    ("skill", "file", "told"),
    [
        (
            "lora",
            "adapter_model.safetensors",
            "saved differently from what is in memory: base_model",
        ),
        (
            "full-fine-tuning",
            "model.safetensors",
            "saved differently from what is in memory: model.",
        ),
        ("layer-freezing", "optimizer.pt", "optimizer.pt is damaged"),
        ("lora", "rng_state.pth", "rng_state.pth is damaged"),
    ],
)
def test_a_checkpoint_that_came_out_wrong_ends_the_run(
    tmp_path: Path,
    llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    skill: str,
    file: str,
    told: str,
) -> None:
    monkeypatch.setattr(transformers.Trainer, "_save_checkpoint", several.spoiling(file))
    run = tiny.make_run(tmp_path, skill)
    assert tiny.train_here(monkeypatch, run, llama) == 1
    end = tiny.ending(run)
    assert (end["state"], end["reason"]) == ("failed", "CheckpointError")
    assert told in end["text_en"]
    assert told in end["text_zh"]
    assert tiny.events(run, "step")[-1].step == 3
    assert last_good(run / "checkpoints") is None
    assert list((run / "checkpoints").glob("cut-checkpoint-3-*"))
    assert not (run / "result").exists()


def test_what_is_missing_or_too_much_is_named(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = tiny.model()
    model.save_pretrained(tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    assert read_back(model, tmp_path, first=True) == []
    tensors = tiny.weights(tmp_path)
    norm = tensors.pop("model.norm.weight")
    save_file({**tensors, "model.other.weight": norm}, path)
    assert read_back(model, tmp_path, first=True) == [
        "saved differently from what is in memory: model.norm.weight",
        "saved and not in memory: model.other.weight",
    ]
    save_file({**tensors, "model.norm.weight": norm.to(torch.float64)}, path)
    (told,) = read_back(model, tmp_path, first=True)
    assert told.endswith(": model.norm.weight")
    path.write_bytes(path.read_bytes()[:-10])
    assert read_back(model, tmp_path, first=True)[0].startswith("the weights cannot be read")
