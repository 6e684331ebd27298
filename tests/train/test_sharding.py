"""What sharding could break without a word: saved adapters, and the stop before a bad step."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest
import torch

from tests.train import poisoned, sharded_on_cpu, tiny
from tutor_agent.core.checkpoints import last_good

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]
_SHARDED = {"launch__processes": 2, "launch__sharding": "fsdp2", "optim__micro_batch": 2}


def test_adapters_of_a_sharded_run_that_recomputes_activations_are_saved(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks wrapped for recomputing have other names, under which PEFT once saved nothing at all."""
    alone = tiny.make_run(tmp_path, name="alone")
    assert tiny.train_here(monkeypatch, alone, llama) == 0
    shutil.copy(tmp_path / "alone.jsonl", tmp_path / "shards.jsonl")
    shards = tiny.make_run(tmp_path, name="shards", launch__checkpointing=True, **_SHARDED)
    process = tiny.start_ranks(shards, llama, 2, through=sharded_on_cpu.__file__)
    assert process.wait(timeout=300) == 0, tiny.ending(shards)
    assert tiny.losses(shards) == pytest.approx(tiny.losses(alone), abs=2e-5)
    for folder in ("result", "checkpoints/checkpoint-3"):
        one, two = tiny.weights(alone / folder), tiny.weights(shards / folder)
        assert one.keys() == two.keys()
        for name, tensor in one.items():
            torch.testing.assert_close(two[name], tensor, atol=2e-4, rtol=0)


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
def test_sharded_ranks_halt_before_a_bad_step(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    monkeypatch.setitem(os.environ, "TUTOR_TEST_POISON", "weight")
    run = tiny.make_run(tmp_path, skill, **_SHARDED)
    process = tiny.start_ranks(run, llama, 2, through=poisoned.__file__)
    assert process.wait(timeout=300) == 0, tiny.ending(run)
    (halted,) = tiny.events(run, "halted")
    assert halted.payload["reason"] == "non_finite_loss"
    assert halted.step == poisoned.STEP
    assert {path.name for path in (run / "scene").iterdir()} >= {"scene.json", "rank-0", "rank-1"}
    good = last_good(run / "checkpoints")
    assert good is not None
    assert good.name == "checkpoint-3"
    assert all(tensor.isfinite().all() for tensor in tiny.weights(good).values())
