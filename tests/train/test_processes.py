"""Processes that do not work together as planned are refused; sharded ones learn the same."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.train import sharded_on_cpu, tiny
from tutor_agent.core.checkpoints import faults_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


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


@pytest.mark.slow
@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
def test_sharded_processes_learn_what_one_learns(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str
) -> None:
    alone = tiny.make_run(tmp_path, skill, "alone")
    tiny.train_here(monkeypatch, alone, llama)
    shutil.copy(tmp_path / "alone.jsonl", tmp_path / "shards.jsonl")
    shards = tiny.make_run(
        tmp_path,
        skill,
        "shards",
        launch__processes=2,
        launch__sharding="fsdp2",
        optim__micro_batch=2,
    )
    process = tiny.start_ranks(shards, llama, 2, through=sharded_on_cpu.__file__)
    assert process.wait(timeout=240) == 0, (shards / "logs/attempt-0/rank-0.log").read_text()[
        -3000:
    ]
    assert tiny.losses(shards) == pytest.approx(tiny.losses(alone), abs=2e-5)
    pairs = zip(tiny.events(alone, "evaluation"), tiny.events(shards, "evaluation"), strict=True)
    for one, two in pairs:
        assert two.number("loss") == pytest.approx(one.number("loss"), abs=2e-5)
    assert faults_of(shards / "checkpoints" / "checkpoint-6", world_size=2) == []
    saved = tiny.weights(shards / "result").keys()
    assert saved >= tiny.weights(alone / "result").keys()
