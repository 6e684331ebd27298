"""Trackers receive every figure of a run, and never stand in its way."""

from __future__ import annotations

import sys
import types
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


def test_a_tracker_that_is_not_installed_is_refused_before_training(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "swanlab", None)
    run = tiny.make_run(tmp_path, trackers=["swanlab"])
    assert tiny.train_here(monkeypatch, run, llama) == 1
    assert "pip install swanlab" in tiny.ending(run)["text_en"]
    assert not tiny.events(run, "step")


def test_a_tracker_that_fails_is_let_go_and_training_goes_on(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def log(self, figures: dict[str, float], step: int) -> None:
            raise ConnectionError("the server is gone")

    module: Any = types.ModuleType("trackio")
    module.__spec__ = types.SimpleNamespace(name="trackio")
    module.init = lambda **_: None
    module.log = Broken().log
    monkeypatch.setitem(sys.modules, "trackio", module)
    run = tiny.make_run(tmp_path, trackers=["trackio"])
    assert tiny.train_here(monkeypatch, run, llama) == 0
    (note,) = [e for e in tiny.events(run, "note") if "trackio" in str(e.payload["text_en"])]
    assert "the server is gone" in str(note.payload["text_en"])
    assert tiny.ending(run)["state"] == "completed"
