"""However a global batch is cut, the same is learnt: processes, accumulation, shards, packing, lengths."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from tests.train import sharded_on_cpu, tiny
from tutor_agent.core.checkpoints import faults_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]

LARGEST = 2e-5
CUTS: dict[str, dict[str, Any]] = {
    "accumulation": {"optim__micro_batch": 1, "optim__accumulate": 4},
    "two processes": {"launch__processes": 2, "optim__micro_batch": 2},
    "two processes, accumulation": {
        "launch__processes": 2,
        "optim__micro_batch": 1,
        "optim__accumulate": 2,
    },
    "two shards": {
        "launch__processes": 2,
        "optim__micro_batch": 2,
        "launch__sharding": "fsdp2",
    },
}
BATCHES: dict[str, dict[str, Any]] = {
    "random": {},
    "packed": {"data__packing": True, "data__max_length": 48},
    "by length": {"data__batching": "by_length"},
}
SKILLS = ("lora", "full-fine-tuning", "layer-freezing")


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> Callable[[str, str], Path]:
    """The run of one process that all the others are held to, trained once for each case."""
    folder = tmp_path_factory.mktemp("alone")
    done: dict[tuple[str, str], Path] = {}

    def get(skill: str, batches: str) -> Path:
        key = (skill, batches)
        if key not in done:
            name = f"{skill}-{batches}".replace(" ", "-")
            done[key] = tiny.make_run(folder, skill, name, **BATCHES[batches])
            with pytest.MonkeyPatch.context() as patch:
                assert tiny.train_here(patch, done[key], llama) == 0
        return done[key]

    return get


def cases() -> list[Any]:
    """Return every skill, way of batching and cut; shards once by length, which changes nothing in them."""
    return [
        pytest.param(skill, batches, cut, id=f"{skill}-{batches}-{cut}".replace(" ", "_"))
        for skill in SKILLS
        for batches in BATCHES
        for cut in CUTS
        if not (batches == "by length" and skill != "lora")
    ]


@pytest.mark.parametrize(("skill", "batches", "cut"), cases())
def test_the_cut_changes_nothing(
    tmp_path: Path,
    llama: Path,
    monkeypatch: pytest.MonkeyPatch,
    alone: Callable[[str, str], Path],
    skill: str,
    batches: str,
    cut: str,
) -> None:
    reference = alone(skill, batches)
    shutil.copy(reference.with_name(f"{reference.name[:-2]}.jsonl"), tmp_path / "cut.jsonl")
    run = tiny.make_run(tmp_path, skill, "cut", **BATCHES[batches], **CUTS[cut])
    if "launch__processes" in CUTS[cut]:
        through = sharded_on_cpu.__file__ if "shards" in cut else None
        process = tiny.start_ranks(run, llama, 2, through=through)
        code = process.wait(timeout=240)
    else:
        code = tiny.train_here(monkeypatch, run, llama)
    assert code == 0, tiny.ending(run)
    assert tiny.losses(run) == pytest.approx(tiny.losses(reference), abs=LARGEST)
    pairs = zip(tiny.events(reference, "evaluation"), tiny.events(run, "evaluation"), strict=True)
    for one, other in pairs:
        assert other.number("loss") == pytest.approx(one.number("loss"), abs=LARGEST)
    (audit,), (same,) = tiny.events(reference, "audit"), tiny.events(run, "audit")
    assert same.payload["trainable"] == audit.payload["trainable"]
    world = 2 if "launch__processes" in CUTS[cut] else 1
    assert faults_of(run / "checkpoints" / "checkpoint-6", world_size=world) == []
    assert tiny.weights(run / "result").keys() >= tiny.weights(reference / "result").keys()
