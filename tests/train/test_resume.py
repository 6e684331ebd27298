"""Going on from a checkpoint: bit-equal, unless the plan changed; and a full disk."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import torch

from tests.train import tiny
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.checkpoints import faults_of, is_good, last_good
from tutor_agent.core.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning"])
@pytest.mark.parametrize("checkpoint", [4, 12])
def test_a_resumed_run_equals_an_uninterrupted_one(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, skill: str, checkpoint: int
) -> None:
    changes = {
        "optim__max_steps": 16,
        "evaluation__every": 4,
        "evaluation__keep": "last",
        "optim__schedule": "cosine",
    }
    whole = tiny.make_run(tmp_path, skill, "whole", **changes)
    monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", 9)
    assert tiny.train_here(monkeypatch, whole, llama) == 0
    shutil.copy(tmp_path / "whole.jsonl", tmp_path / "again.jsonl")
    again = tiny.make_run(tmp_path, skill, "again", **changes)
    start = whole / "checkpoints" / f"checkpoint-{checkpoint}"
    assert tiny.train_here(monkeypatch, again, llama, start) == 0
    assert tiny.losses(again) == tiny.losses(whole)[checkpoint:]
    one, two = tiny.weights(whole / "result"), tiny.weights(again / "result")
    assert all(torch.equal(one[name], two[name]) for name in one)
    rates = [event.number("learning_rate") for event in tiny.events(again, "step")]
    assert (
        rates
        == [event.number("learning_rate") for event in tiny.events(whole, "step")][checkpoint:]
    )


def test_the_learning_rate_and_schedule_of_the_plan_win_on_resume(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, optim__schedule="constant", optim__warmup=0)
    tiny.train_here(monkeypatch, run, llama)
    start = run / "checkpoints" / "checkpoint-3"
    plan = Plan.load(run / "plan.yaml")
    change = PlanChange.set(
        optim__learning_rate=1e-4,
        optim__schedule="linear",
        optim__weight_decay=0.1,
        optim__max_steps=13,
    )
    apply(plan, change).save(run / "plan.yaml")
    (run / "events.jsonl").unlink()
    tiny.train_here(monkeypatch, run, llama, start)
    rates = [event.number("learning_rate") for event in tiny.events(run, "step")]
    assert rates == pytest.approx([1e-4 * (1 - step / 13) for step in range(3, 13)])
    optimizer = torch.load(
        run / "checkpoints" / "checkpoint-13" / "optimizer.pt", weights_only=True
    )
    assert optimizer["param_groups"][0]["weight_decay"] == 0.1


def test_a_repaired_run_is_judged_before_it_goes_on(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tiny.make_run(tmp_path, name="first")
    tiny.train_here(monkeypatch, first, llama)
    shutil.copy(tmp_path / "first.jsonl", tmp_path / "repaired.jsonl")
    repaired = tiny.make_run(tmp_path, name="repaired")
    tiny.train_here(monkeypatch, repaired, llama, first / "checkpoints" / "checkpoint-3")
    before = [e for e in tiny.events(repaired, "evaluation") if e.payload["phase"] == "before"]
    told = [e for e in tiny.events(first, "evaluation") if e.payload["phase"] == "before"]
    assert [e.number("loss") for e in before] == [e.number("loss") for e in told]


def test_a_disk_without_room_halts_before_anything_is_written(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path)
    usage = shutil.disk_usage(tmp_path)
    calls: list[int] = []

    def shrinking(path: object) -> object:
        calls.append(1)
        return usage._replace(free=usage.free if len(calls) == 1 else 1000)

    monkeypatch.setattr("tutor_agent.training.checkpoints.shutil.disk_usage", shrinking)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    end = tiny.ending(run)
    assert (end["state"], end["reason"]) == ("halted", "disk_full")
    assert "checkpoint-3 is kept" in end["text_en"]
    assert is_good(run / "checkpoints" / "checkpoint-3")
    assert not (run / "checkpoints" / "checkpoint-6").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_up_while_saving_harms_nothing(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.decode().strip()}")
    try:
        run = tiny.make_run(disk, "full-fine-tuning", evaluation__every=1, optim__max_steps=12)
        monkeypatch.setattr("tutor_agent.training.checkpoints._KEPT_GOOD", 99)
        monkeypatch.setattr(
            "tutor_agent.training.checkpoints.Checkpoints.has_room", lambda checkpoints: True
        )
        assert tiny.train_here(monkeypatch, run, llama) == 0
        end = tiny.ending(run)
        assert (end["state"], end["reason"]) == ("halted", "disk_full"), end
        good = last_good(run / "checkpoints")
        assert good is not None
        assert faults_of(good) == []
        assert list((run / "checkpoints").glob("cut-checkpoint-*"))
        assert tiny.events(run, "halted")
    finally:
        subprocess.run(["umount", str(disk)], check=True)
