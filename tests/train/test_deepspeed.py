"""ZeRO on two processes: the same losses, really split, saved so that others can load it, and resumed.

DeepSpeed compiles a part of itself at its first start, which takes minutes and a C++ compiler; so it is
tested where somebody has installed it.
"""

from __future__ import annotations

import os
import shutil
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from tests.train import poisoned, tiny
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.checkpoints import faults_of, last_good
from tutor_agent.core.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.train,
    pytest.mark.slow,
    pytest.mark.skipif(
        find_spec("deepspeed") is None, reason="deepspeed is not installed (extra `deepspeed`)"
    ),
]
_SECONDS = 540


def _train(run: Path, model: Path, resume: Path | None = None, through: str | None = None) -> None:
    process = tiny.start_ranks(run, model, 2, through=through, resume=resume)
    log = run / "logs" / "attempt-0" / "rank-0.log"
    assert process.wait(timeout=_SECONDS) == 0, log.read_text(encoding="utf-8")[-3000:]


def _sharded(folder: Path, skill: str, sharding: str, name: str = "shards", **more: Any) -> Path:
    return tiny.make_run(
        folder,
        skill,
        name,
        launch__processes=2,
        launch__sharding=sharding,
        optim__micro_batch=2,
        **more,
    )


def _split(checkpoint: Path, world: int) -> list[int]:
    """Return how many fp32 values the optimizer of each rank holds, as its file says."""
    found = []
    for rank in range(world):
        (path,) = checkpoint.glob(f"global_step*/*zero_pp_rank_{rank}_*optim_states.pt")
        state = torch.load(path, weights_only=False)["optimizer_state_dict"]
        key = next(k for k in ("fp32_flat_groups", "single_partition_of_fp32_groups") if k in state)
        found.append(sum(group.numel() for group in state[key]))
    return found


@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
def test_zero_learns_what_one_process_learns_and_saves_what_anybody_loads(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str, sharding: str
) -> None:
    alone = tiny.make_run(tmp_path, skill, "alone")
    assert tiny.train_here(monkeypatch, alone, llama) == 0
    shutil.copy(tmp_path / "alone.jsonl", tmp_path / "shards.jsonl")
    shards = _sharded(tmp_path, skill, sharding)
    _train(shards, llama)
    assert tiny.losses(shards) == pytest.approx(tiny.losses(alone), abs=2e-5)
    pairs = zip(tiny.events(alone, "evaluation"), tiny.events(shards, "evaluation"), strict=True)
    for one, two in pairs:
        assert two.number("loss") == pytest.approx(one.number("loss"), abs=2e-5)
    norms = [
        [event.number("grad_norm") for event in tiny.events(r, "step")] for r in (alone, shards)
    ]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)

    checkpoint = shards / "checkpoints" / "checkpoint-6"
    assert faults_of(checkpoint, world_size=2) == []
    (audit,) = tiny.events(shards, "audit")
    trainable = int(audit.number("trainable") or 0)
    parts = _split(checkpoint, 2)
    assert trainable <= sum(parts) <= trainable * 1.05 + 256
    assert max(parts) - min(parts) <= 0.05 * trainable + 256

    one, two = tiny.weights(alone / "result"), tiny.weights(shards / "result")
    # A tied head may be written as well: copies that were gathered no longer share memory.
    assert two.keys() - one.keys() <= {"lm_head.weight"}
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-4, rtol=0)
    plain = AutoModelForCausalLM.from_pretrained(
        llama if skill == "lora" else shards / "result", local_files_only=True
    )
    if skill == "lora":
        plain = PeftModel.from_pretrained(plain, shards / "result")
    assert plain(torch.tensor([[1, 5, 6]])).logits.isfinite().all()


@pytest.mark.parametrize(("skill", "sharding"), [("lora", "zero3"), ("full-fine-tuning", "zero2")])
def test_zero_goes_on_where_it_stopped_and_the_plan_wins(
    tmp_path: Path, llama: Path, skill: str, sharding: str
) -> None:
    whole = _sharded(tmp_path, skill, sharding, "whole")
    _train(whole, llama)
    start = whole / "checkpoints" / "checkpoint-3"
    shutil.copy(tmp_path / "whole.jsonl", tmp_path / "again.jsonl")
    again = _sharded(tmp_path, skill, sharding, "again")
    _train(again, llama, start)
    assert tiny.losses(again) == pytest.approx(tiny.losses(whole)[3:], abs=1e-6)
    one, two = tiny.weights(whole / "result"), tiny.weights(again / "result")
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=1e-6, rtol=0)

    shutil.copy(tmp_path / "whole.jsonl", tmp_path / "slower.jsonl")
    slower = _sharded(tmp_path, skill, sharding, "slower")
    plan = Plan.load(slower / "plan.yaml")
    change = PlanChange.set(optim__learning_rate=1e-4, optim__max_steps=13)
    apply(plan, change).save(slower / "plan.yaml")
    _train(slower, llama, start)
    rates = [event.number("learning_rate") for event in tiny.events(slower, "step")]
    assert rates == pytest.approx([1e-4 * (13 - step) / 11 for step in range(3, 13)])


@pytest.mark.parametrize("kind", ["weight", "gradient"])
@pytest.mark.parametrize("sharding", ["zero2", "zero3"])
def test_zero_halts_before_a_bad_step(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, sharding: str, kind: str
) -> None:
    monkeypatch.setitem(os.environ, "TUTOR_TEST_POISON", kind)
    run = _sharded(tmp_path, "full-fine-tuning", sharding)
    _train(run, llama, through=poisoned.__file__)
    (halted,) = tiny.events(run, "halted")
    reason = "non_finite_loss" if kind == "weight" else "non_finite_gradient"
    assert halted.payload["reason"] == reason
    assert halted.step == poisoned.STEP
    assert tiny.ending(run)["state"] == "halted"
    assert (run / "scene" / "scene.json").is_file()
    good = last_good(run / "checkpoints")
    assert good is not None
    assert good.name == "checkpoint-3"
    assert all(tensor.isfinite().all() for tensor in tiny.weights(good).values())
