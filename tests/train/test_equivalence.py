"""However a global batch is cut, the same is learnt: processes, accumulation, shards, packing, lengths."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.train import sharded_on_cpu, tiny
from tutor_agent.core.checkpoints import faults_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.train, pytest.mark.slow]

LARGEST = 2e-5
WHOLE = "one process"
CUTS: dict[str, dict[str, Any]] = {
    WHOLE: {},
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
    "two shards, accumulation": {
        "launch__processes": 2,
        "optim__micro_batch": 1,
        "optim__accumulate": 2,
        "launch__sharding": "fsdp2",
    },
}
BATCHES: dict[str, dict[str, Any]] = {
    "random": {},
    "packed": {"data__packing": True, "data__max_length": 48},
    "by length": {"data__batching": "by_length"},
}
SKILLS = ("lora", "full-fine-tuning", "layer-freezing")
Case = tuple[str, str, str]


def cases() -> list[Case]:
    """Return every skill, way of batching and cut; by length once, since no weight knows of lengths."""
    return [
        (skill, batches, cut)
        for skill in SKILLS
        for batches in BATCHES
        for cut in CUTS
        if batches != "by length" or skill == "lora"
    ]


def _id(case: Case) -> str:
    return "-".join(case).replace(",", "").replace(" ", "-")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, llama: Path) -> dict[Case, Path]:
    """The runs of all cases: those of two processes share two launches, since imports take most of the time."""
    folder = tmp_path_factory.mktemp("cuts")
    found: dict[Case, Path] = {}
    for case in cases():
        skill, batches, cut = case
        changes = {**BATCHES[batches], **CUTS[cut]}
        found[case] = tiny.make_run(folder, skill, _id(case), **changes)
    for (_, _, cut), run in found.items():
        if "launch__processes" not in CUTS[cut]:
            with pytest.MonkeyPatch.context() as patch:
                tiny.train_here(patch, run, llama)
    for kind, through in (("two processes", None), ("two shards", sharded_on_cpu.__file__)):
        jobs = [{"run": str(run)} for case, run in found.items() if case[2].startswith(kind)]
        tiny.train_several(jobs, llama, through=through)
    return found


@pytest.mark.parametrize("case", [case for case in cases() if case[2] != WHOLE], ids=_id)
def test_the_cut_changes_nothing(runs: dict[Case, Path], case: Case) -> None:
    skill, batches, cut = case
    alone, run = runs[skill, batches, WHOLE], runs[case]
    assert tiny.ending(run)["state"] == "completed", tiny.ending(run)
    assert tiny.losses(run) == pytest.approx(tiny.losses(alone), abs=LARGEST)
    norms = [[event.number("grad_norm") for event in tiny.events(r, "step")] for r in (alone, run)]
    assert norms[1] == pytest.approx(norms[0], rel=1e-4)
    pairs = zip(tiny.events(alone, "evaluation"), tiny.events(run, "evaluation"), strict=True)
    for one, other in pairs:
        for figure in ("loss", "token_accuracy", "exact_match"):
            assert other.number(figure) == pytest.approx(one.number(figure), abs=LARGEST)
    (audit,), (same,) = tiny.events(alone, "audit"), tiny.events(run, "audit")
    assert same.payload["trainable"] == audit.payload["trainable"]
    world = 2 if "launch__processes" in CUTS[cut] else 1
    assert faults_of(run / "checkpoints" / "checkpoint-6", world_size=world) == []
    assert tiny.weights(run / "result").keys() == tiny.weights(alone / "result").keys()
    drills = [event.payload["drilled"] for event in tiny.events(run, "checkpoint")]
    assert drills == [True, False]


@pytest.mark.parametrize("case", [case for case in cases() if "shards" in case[2]], ids=_id)
def test_shards_really_are(runs: dict[Case, Path], case: Case) -> None:
    told = [json.loads((runs[case] / f"shards-{rank}.json").read_text()) for rank in (0, 1)]
    for rank in told:
        assert rank["class"].startswith("FSDP")
        assert rank["shards"] == rank["parameters"] > 0
        assert rank["held"] == pytest.approx(rank["elements"] / 2, rel=0.02)
    assert told[0]["held"] + told[1]["held"] == told[0]["elements"] == told[1]["elements"]
