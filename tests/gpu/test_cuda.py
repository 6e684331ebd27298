"""The training script on a real CUDA device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning", "layer-freezing"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_skill_trains_on_a_gpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skill: str, *, checkpointing: bool
) -> None:
    folder = tiny.save_model(tmp_path / "model")
    run = tiny.make_run(tmp_path, skill, data__packing=True, launch__checkpointing=checkpointing)
    assert tiny.train_here(monkeypatch, run, folder) == 0, tiny.ending(run)
    (started,) = tiny.events(run, "run_started")
    assert started.payload["device"] == torch.cuda.get_device_name()
    capable = torch.cuda.is_bf16_supported(including_emulation=False)
    assert started.payload["dtype"] == ("bf16" if capable else "fp32")
    found = tiny.losses(run)
    assert found[-1] < found[0]
    assert all((event.number("memory_gib") or 0) > 0 for event in tiny.events(run, "step"))
    phases = [event.payload["phase"] for event in tiny.events(run, "evaluation")]
    assert (phases[0], phases[-1]) == ("before", "after")
