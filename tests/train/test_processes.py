"""Processes that do not work together as planned are refused; sharded ones learn the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.train import tiny

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
