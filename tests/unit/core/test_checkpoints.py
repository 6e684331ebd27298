"""A checkpoint counts only once it is complete, verified and marked."""

from __future__ import annotations

import json
import struct
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.checkpoints import faults_of, is_good, last_good, mark_good, step_of

if TYPE_CHECKING:
    from pathlib import Path


def make(folder: Path, step: int) -> Path:
    checkpoint = folder / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    body = struct.pack("<Q", len(header)) + header + b"\0" * 8
    (checkpoint / "model.safetensors").write_bytes(body)
    (checkpoint / "trainer_state.json").write_text("{}", encoding="utf-8")
    for name in ("scheduler.pt", "optimizer.pt", "rng_state.pth"):
        (checkpoint / name).write_bytes(b"x")
    return checkpoint


def test_complete(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, 10)
    assert faults_of(checkpoint) == []
    assert not is_good(checkpoint)
    mark_good(checkpoint, loss=1.5)
    assert is_good(checkpoint)
    assert step_of(checkpoint) == 10


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("trainer_state.json", "trainer_state"),
        ("scheduler.pt", "scheduler"),
        ("optimizer.pt", "optimizer"),
        ("rng_state.pth", "rng_state"),
        ("model.safetensors", "no weights"),
    ],
)
def test_a_missing_file_is_a_fault(tmp_path: Path, name: str, fault: str) -> None:
    checkpoint = make(tmp_path, 10)
    (checkpoint / name).unlink()
    assert any(fault in found for found in faults_of(checkpoint))


def test_cut_weights_are_a_fault_even_when_marked(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, 10)
    mark_good(checkpoint)
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert faults_of(checkpoint) == ["model.safetensors is cut"]
    assert not is_good(checkpoint)
    weights.write_bytes(b"\x00")
    assert not is_good(checkpoint)


def test_every_rank_needs_its_random_state(tmp_path: Path) -> None:
    checkpoint = make(tmp_path, 10)
    assert faults_of(checkpoint, 2) == ["rng_state_0.pth is missing", "rng_state_1.pth is missing"]


def test_last_good(tmp_path: Path) -> None:
    assert last_good(tmp_path) is None
    checkpoints = {step: make(tmp_path, step) for step in (5, 20, 100)}
    mark_good(checkpoints[5])
    mark_good(checkpoints[20])
    assert last_good(tmp_path) == checkpoints[20]
    assert last_good(tmp_path, before=20) == checkpoints[5]
    assert step_of(tmp_path) == -1
    assert faults_of(tmp_path / "checkpoint-999")
