"""Going on from a checkpoint under a changed plan; and a disk that is full, or will be."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
import torch

from tests.train import tiny
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.checkpoints import faults_of, is_good, last_good, mark_good
from tutor_agent.core.plan import Plan
from tutor_agent.training.checkpoints import Checkpoints
from tutor_agent.training.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


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
        return usage._replace(free=usage.free if len(calls) <= 2 else 1000)

    monkeypatch.setattr("tutor_agent.training.checkpoints.shutil.disk_usage", shrinking)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    end = tiny.ending(run)
    assert (end["state"], end["reason"]) == ("halted", "disk_full")
    assert "checkpoint-3 is kept" in end["text_en"]
    assert is_good(run / "checkpoints" / "checkpoint-3")
    assert not (run / "checkpoints" / "checkpoint-6").exists()


@pytest.mark.parametrize(("every", "most"), [(6, 1), (3, 2), (1, 4)])
@pytest.mark.parametrize("enough", [True, False])
def test_a_disk_too_small_for_the_run_is_told_before_the_first_step(
    tmp_path: Path,
    llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    every: int,
    most: int,
    enough: bool,
) -> None:
    run = tiny.make_run(tmp_path, "full-fine-tuning", evaluation__every=every)
    weights = sum(tensor.nbytes for tensor in tiny.weights(llama).values())
    small = 2**20
    size, result = int(weights * 3 * 1.1) + small, weights + small
    needed = max(most * size, min(most, 3) * size + result)
    usage = shutil.disk_usage(tmp_path)._replace(free=needed if enough else needed - 1)
    monkeypatch.setattr("tutor_agent.training.checkpoints.shutil.disk_usage", lambda path: usage)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    end = tiny.ending(run)
    if enough:
        assert end["state"] == "completed"
        return
    assert (end["state"], end["reason"]) == ("halted", "disk_full")
    assert f"up to {most} more checkpoints of {size / small:.1f} MiB" in end["text_en"]
    assert tiny.events(run, "halted")
    assert not tiny.events(run, "step")


def test_what_the_disk_already_holds_is_not_asked_for_again(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, rank=0, attempt=1)
    checkpoints = Checkpoints(tmp_path / "checkpoints", recorder, 1, expected_bytes=2**60)
    assert not checkpoints.has_room_for_all(1, 0)
    for step in range(4):
        (tmp_path / "checkpoints" / f"checkpoint-{step}").mkdir()
    assert checkpoints.has_room_for_all(9, 0)


def test_the_newest_the_best_and_the_last_good_stay(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder, Recorder(tmp_path, rank=0, attempt=0), 1, expected_bytes=0)
    for step in range(1, 10):
        (folder / f"checkpoint-{step}").mkdir(parents=True)
        if step in {1, 2, 4, 5, 6}:
            mark_good(folder / f"checkpoint-{step}")
    checkpoints.prune(folder / "checkpoint-2")
    assert {path.name[-1] for path in folder.iterdir()} == {"9", "6", "5", "2"}


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
        for name in ("has_room", "has_room_for_all"):
            monkeypatch.setattr(
                f"tutor_agent.training.checkpoints.Checkpoints.{name}", lambda *given: True
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
