"""What a step says of itself beside the loss: its batch, its time, its wait; and what the audit says of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.assets import write_jsonl
from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


def test_batches_are_told_apart_and_are_the_same_after_a_resume(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path)
    tiny.train_here(monkeypatch, run, llama)
    steps = tiny.events(run, "step")
    batches = [event.number("batch") for event in steps]
    assert len(set(batches)) == len(batches) == 6
    for event in steps:
        assert (event.number("seconds") or 0) > 0
        assert 0 <= (event.number("data_seconds") or 0) < 60
    (begun,) = tiny.events(run, "run_started")
    assert begun.number("vocabulary") == len(tiny.tokenizer())
    (run / "events.jsonl").unlink()
    tiny.train_here(monkeypatch, run, llama, run / "checkpoints" / "checkpoint-3")
    assert [event.number("batch") for event in tiny.events(run, "step")] == batches[3:]


def test_odd_rows_are_counted_before_training(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = tiny.rows(40)
    held_out = write_jsonl(rows[:5], tmp_path / "held.jsonl")
    damaged = [{"question": f"what goes with {'red ' * i}", "answer": "gr\ufffden"} for i in (1, 2)]
    write_jsonl([*rows, *rows[10:13], *damaged], tmp_path / "odd.jsonl")
    change = {"data__test": str(held_out), "optim__max_steps": 1}
    run = tiny.make_run(tmp_path, name="odd", **change)
    tiny.train_here(monkeypatch, run, llama)
    (audit,) = tiny.events(run, "audit")
    assert audit.number("shared_rows") == 5
    assert audit.number("damaged_rows") in {1, 2}
    assert 1 <= (audit.number("repeated_rows") or 0) < 10
    assert audit.payload["foreign_markers"] == []
