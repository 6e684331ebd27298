"""Processes that do not work together as planned are refused; those that do resume bit for bit, and stop together."""

from __future__ import annotations

import os
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.tensor import Replicate, Shard, distribute_tensor
from torch.testing._internal.distributed.fake_pg import FakeStore

from tests.train import sharded_on_cpu, tiny
from tutor_agent.core.checkpoints import last_good
from tutor_agent.core.errors import LaunchError
from tutor_agent.core.plan import Plan
from tutor_agent.training.entry import check_sharded, refuse_stale_locks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.train

# Five steps an epoch.
LONG: dict[str, Any] = {
    "launch__processes": 2,
    "data__limit": 24,
    "optim__max_steps": 9,
    "optim__schedule": "cosine",
    "evaluation__every": 4,
    "evaluation__keep": "last",
    "evaluation__samples": 0,
}
RESUMED: dict[str, tuple[str, int, dict[str, Any]]] = {
    "within": (
        "lora",
        4,
        {
            "params__dropout": 0.2,
            "data__packing": True,
            "data__max_length": 40,
            "optim__micro_batch": 1,
        },
    ),
    "cut": (
        "full-fine-tuning",
        4,
        {"data__batching": "by_length", "optim__micro_batch": 1, "optim__accumulate": 2},
    ),
    "border": ("layer-freezing", 5, {"evaluation__every": 5, "optim__micro_batch": 2}),
}
SPOILT = {
    "processes": {"model.safetensors": "full-fine-tuning", "optimizer.pt": "lora"},
    "shards": {"pytorch_model_fsdp.bin": "full-fine-tuning", "optimizer.bin": "lora"},
}
KINDS: dict[str, tuple[str | None, dict[str, Any]]] = {
    "processes": (None, {}),
    "shards": (sharded_on_cpu.__file__, {"launch__sharding": "fsdp2"}),
}


@pytest.fixture(scope="module", params=list(KINDS))
def together(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, llama: Path
) -> tuple[str, Path]:
    """The folder of several runs that two processes, or two shards, trained in one launch."""
    kind = str(request.param)
    through, more = KINDS[kind]
    folder = tmp_path_factory.mktemp(kind)
    jobs: list[dict[str, str]] = []
    for name, (skill, step, changes) in RESUMED.items():
        changes = {**LONG, **more, **changes}
        whole, again = (tiny.make_run(folder, skill, name + end, **changes) for end in ("", "-on"))
        start = whole / "checkpoints" / f"checkpoint-{step}"
        jobs += [{"run": str(whole)}, {"run": str(again), "resume": str(start)}]
    for i, (file, skill) in enumerate(SPOILT[kind].items()):
        run = tiny.make_run(folder, skill, f"spoilt{i}", **{**LONG, **more})
        jobs.append({"run": str(run), "spoil": file})
    tiny.train_several(jobs, llama, through=through)
    return kind, folder


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_together_they_resume_bit_for_bit(together: tuple[str, Path], name: str) -> None:
    _, folder = together
    _, step, _ = RESUMED[name]
    whole, again = folder / f"{name}-1", folder / f"{name}-on-1"
    assert tiny.ending(again)["state"] == "completed", tiny.ending(again)
    told, found = tiny.events(whole, "step"), tiny.events(again, "step")
    assert len(told) == LONG["optim__max_steps"]
    for before, after in zip(told[step:], found, strict=True):
        for figure in ("loss", "grad_norm", "learning_rate", "epoch", "tokens"):
            assert after.payload[figure] == before.payload[figure], (after.step, figure)
    last = f"checkpoints/checkpoint-{told[-1].step}"
    assert tiny.same_state(whole / last, again / last)
    assert tiny.events(again, "checkpoint")[0].payload["drilled"] is True


@pytest.mark.slow
@pytest.mark.parametrize("i", [0, 1])
def test_together_they_stop_at_a_checkpoint_that_cannot_be_read_back(
    together: tuple[str, Path], i: int
) -> None:
    kind, folder = together
    run, file = folder / f"spoilt{i}-1", [*SPOILT[kind]][i]
    end = tiny.ending(run)
    assert (end["state"], end["reason"]) == ("failed", "CheckpointError")
    what = "saved differently" if file == "model.safetensors" else f"{file} is damaged"
    assert what in end["text_en"]
    assert tiny.events(run, "step")[-1].step == LONG["evaluation__every"]
    assert last_good(run / "checkpoints") is None
    assert list((run / "checkpoints").glob("cut-checkpoint-4-*"))
    assert not (run / "result").exists()


def test_one_process_is_not_taken_for_two(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, launch__processes=2)
    assert tiny.train_here(monkeypatch, run, llama) == 1
    end = tiny.ending(run)
    assert end["state"] == "failed"
    assert "1 processes train together" in end["text_en"]
    assert not tiny.events(run, "step")


def test_a_sharding_that_is_silently_dropped_is_refused(tmp_path: Path, llama: Path) -> None:
    run = tiny.make_run(tmp_path, launch__processes=2, launch__sharding="fsdp2")
    assert tiny.start_ranks(run, llama, 2).wait(timeout=240) != 0
    end = tiny.ending(run)
    assert end["state"] == "failed"
    assert "fsdp2" in end["text_en"]
    assert not tiny.events(run, "step")


@pytest.fixture
def two_ranks() -> Iterator[Any]:
    """The first of two processes, without the second: nothing is sent."""
    torch.distributed.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    yield init_device_mesh("cpu", (2,))
    torch.distributed.destroy_process_group()


def _holding(*weights: Any, engine: Any = None) -> Any:
    """Return something like a trainer whose model has `weights`."""
    model = SimpleNamespace(parameters=lambda: iter(weights))
    wrapped = engine or model
    return SimpleNamespace(model=model, model_wrapped=wrapped, args=SimpleNamespace(world_size=2))


def test_shards_are_half_of_every_weight(tmp_path: Path, two_ranks: Any) -> None:
    plan = Plan.load(
        tiny.make_run(tmp_path, launch__processes=2, launch__sharding="fsdp2") / "plan.yaml"
    )
    odd = torch.nn.Parameter(torch.zeros(5, 3))
    cut = distribute_tensor(odd, two_ranks, [Shard(0)])
    check_sharded(_holding(cut, cut), plan)
    copied = distribute_tensor(odd, two_ranks, [Replicate()])
    for weights in ([copied], [cut, copied], [cut, odd]):
        with pytest.raises(LaunchError, match=r"weights, and its share among 2 is"):
            check_sharded(_holding(*weights), plan)


@pytest.mark.parametrize(("stage", "held"), [(3, 8), (3, 16), (2, 8)])
def test_zero3_is_neither_another_stage_nor_whole(tmp_path: Path, stage: int, held: int) -> None:
    plan = Plan.load(
        tiny.make_run(tmp_path, launch__processes=2, launch__sharding="zero3") / "plan.yaml"
    )
    weight = SimpleNamespace(ds_numel=15, ds_tensor=torch.zeros(held), shape=(0,))
    weight.numel = lambda: 0
    engine = SimpleNamespace(zero_optimization_stage=lambda: stage)
    if (stage, held) == (3, 8):
        check_sharded(_holding(weight, engine=engine), plan)
        return
    with pytest.raises(LaunchError, match="at stage 2" if stage == 2 else "16 of 15 weights"):
        check_sharded(_holding(weight, engine=engine), plan)


@pytest.mark.parametrize("age", [10, 10_000])
@pytest.mark.parametrize("sharding", ["none", "zero2"])
def test_a_lock_that_a_dead_build_left_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sharding: str, age: int
) -> None:
    run = tiny.make_run(tmp_path, launch__processes=2, launch__sharding=sharding)
    plan = Plan.load(run / "plan.yaml")
    lock = tmp_path / "py311_cpu" / "deepspeed_shm_comm" / "lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    os.utime(lock, (time.time() - age,) * 2)
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    if age > 1000 and sharding == "zero2":
        with pytest.raises(LaunchError, match=str(lock)):
            refuse_stale_locks(plan)
    else:
        refuse_stale_locks(plan)
