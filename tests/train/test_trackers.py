"""Trackers receive every figure of a run, and never stand in its way."""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
import types
from contextlib import closing
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


def test_tensorboard_receives_the_figures_of_the_events(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, trackers=["tensorboard"])
    assert tiny.train_here(monkeypatch, run, llama) == 0
    read = EventAccumulator(str(run / "logs/trackers/tensorboard"))
    read.Reload()
    told = {event.step: event.number("loss") for event in tiny.events(run, "step")}
    shown = {item.step: item.value for item in read.Scalars("train/loss")}
    assert shown == pytest.approx(told)
    judged = {e.payload["phase"]: e.number("loss") for e in tiny.events(run, "evaluation")}
    (before,) = read.Scalars("test_before/loss")
    (after,) = read.Scalars("test_after/loss")
    assert (before.value, after.value) == pytest.approx((judged["before"], judged["after"]))


def test_a_resume_goes_on_in_the_same_tracker_run(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, trackers=["tensorboard"])
    tiny.train_here(monkeypatch, run, llama)
    tiny.train_here(monkeypatch, run, llama, run / "checkpoints" / "checkpoint-3")
    read = EventAccumulator(str(run / "logs/trackers/tensorboard"), purge_orphaned_data=True)
    read.Reload()
    told = {event.step: event.number("loss") for event in tiny.events(run, "step")}
    shown = [(item.step, item.value) for item in read.Scalars("train/loss")]
    assert [step for step, _ in shown] == [*range(1, 7)]
    assert dict(shown) == pytest.approx(told)


def test_what_is_sent_holds_no_secret_and_says_how_it_ended(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _stand_in(monkeypatch)
    secret = "hf_" + "a1B2" * 8
    run = tiny.make_run(
        tmp_path, trackers=["trackio"], model__source=f"https://host/model?token={secret}"
    )
    assert tiny.train_here(monkeypatch, run, llama) == 0
    assert secret in (run / "plan.yaml").read_text(encoding="utf-8")
    assert secret not in json.dumps(seen.started)
    assert seen.started["config"]["optim"]["learning_rate"] == 1e-2
    assert seen.started["name"] == run.name
    steps = [step for figures, step in seen.logged if "train/loss" in figures]
    assert steps == [*range(1, 7)]
    names = {name for figures, _ in seen.logged for name in figures}
    assert names >= {
        "train/grad_norm",
        "train/learning_rate",
        "train/tokens_per_second",
        "train/memory_gib",
        "validation/loss",
        "test_before/loss",
        "test_before/rougeL",
        "test_after/rougeL",
        "audit/trainable",
        "checkpoint/bytes",
    }
    assert seen.ended


def test_a_tracker_that_is_not_installed_is_refused_before_training(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "swanlab", None)
    run = tiny.make_run(tmp_path, trackers=["swanlab"])
    assert tiny.train_here(monkeypatch, run, llama) == 1
    assert "pip install swanlab" in tiny.ending(run)["text_en"]
    assert not tiny.events(run, "step")


@pytest.mark.parametrize("place", ["init", "log", "finish"])
def test_a_tracker_that_fails_is_let_go_and_training_goes_on(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    seen = _stand_in(monkeypatch)
    seen.failing = place
    run = tiny.make_run(tmp_path, trackers=["trackio", "tensorboard"])
    assert tiny.train_here(monkeypatch, run, llama) == 0
    (note,) = [e for e in tiny.events(run, "note") if "trackio" in str(e.payload["text_en"])]
    assert "the server is gone" in str(note.payload["text_en"])
    assert tiny.ending(run)["state"] == "completed"
    assert tiny.events(run)[-1].kind == "run_ended"
    read = EventAccumulator(str(run / "logs/trackers/tensorboard"))
    read.Reload()
    assert len(read.Scalars("train/loss")) == 6


def test_training_does_not_wait_for_a_tracker_that_hangs(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _stand_in(monkeypatch)
    seen.hold = threading.Event()
    monkeypatch.setattr("tutor_agent.training.trackers._LAST_SECONDS", 0.01)
    run = tiny.make_run(tmp_path, trackers=["trackio"])
    try:
        assert tiny.train_here(monkeypatch, run, llama) == 0
    finally:
        seen.hold.set()
    (note,) = [e for e in tiny.events(run, "note") if "trackio" in str(e.payload["text_en"])]
    assert "not finished" in str(note.payload["text_en"])
    assert len(tiny.events(run, "step")) == 6


@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_keeps_a_run_and_its_resume_in_the_run_folder(tmp_path: Path, llama: Path) -> None:
    run = tiny.make_run(tmp_path, trackers=["trackio"])
    assert tiny.start_ranks(run, llama, 1).wait(timeout=240) == 0
    start = run / "checkpoints" / "checkpoint-3"
    assert tiny.start_ranks(run, llama, 1, resume=start).wait(timeout=240) == 0
    (path,) = (run / "logs/trackers/trackio").glob("*.db")
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("select distinct run_name from metrics").fetchall()
        steps = database.execute(
            "select step from metrics where cast(metrics as text) like '%train/loss%'"
        )
        assert {step for (step,) in steps} == {*range(1, 7)}
    assert rows == [(run.name,)]


@pytest.mark.skipif(find_spec("mlflow") is None, reason="mlflow is not installed")
def test_mlflow_keeps_a_run_and_its_resume_in_the_run_folder(tmp_path: Path, llama: Path) -> None:
    run = tiny.make_run(tmp_path, trackers=["mlflow"])
    assert tiny.start_ranks(run, llama, 1).wait(timeout=240) == 0
    start = run / "checkpoints" / "checkpoint-3"
    assert tiny.start_ranks(run, llama, 1, resume=start).wait(timeout=240) == 0
    place = run / "logs/trackers/mlflow"
    with closing(sqlite3.connect(place / "mlflow.db")) as database:
        (found,) = database.execute("select name, status from runs").fetchall()
        steps = database.execute("select step from metrics where key = 'train/loss'")
        assert {step for (step,) in steps} == {*range(1, 7)}
    assert found == (run.name, "FINISHED")
    assert list((place / "files").rglob("plan.json"))


class _StandIn:
    """A tool as trackers drive it, which fails or hangs where it is told to."""

    def __init__(self) -> None:
        self.failing = ""
        self.hold: threading.Event | None = None
        self.started: dict[str, Any] = {}
        self.logged: list[tuple[dict[str, float], int]] = []
        self.ended = False

    def _meet(self, place: str) -> None:
        if self.hold is not None:
            self.hold.wait()
        if place == self.failing:
            raise ConnectionError("the server is gone")

    def init(self, **options: Any) -> _StandIn:
        self._meet("init")
        self.started = options
        return self

    def log(self, figures: dict[str, float], step: int) -> None:
        self._meet("log")
        self.logged.append((figures, step))

    def finish(self) -> None:
        self._meet("finish")
        self.ended = True


def _stand_in(monkeypatch: pytest.MonkeyPatch) -> _StandIn:
    seen = _StandIn()
    module: Any = types.ModuleType("trackio")
    module.__spec__ = ModuleSpec("trackio", None)
    module.init = seen.init
    monkeypatch.setitem(sys.modules, "trackio", module)
    monkeypatch.setenv("TRACKIO_DIR", "unused")
    return seen
