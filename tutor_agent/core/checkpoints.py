"""Which checkpoint can be trusted.

transformers writes straight into the final folder, so a cut save leaves a folder that looks like a
checkpoint; one counts only once it is verified and marked.
"""

from __future__ import annotations

import json
import re
import struct
from typing import TYPE_CHECKING

from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

MARK = "tutor-good.json"
_STEP = re.compile(r"^checkpoint-(\d+)$")
_INCOMPLETE = "checkpoint-is-incomplete.txt"


def step_of(checkpoint: Path) -> int:
    """Return the step in the folder's name, -1 when it is not a checkpoint."""
    match = _STEP.match(checkpoint.name)
    return int(match[1]) if match else -1


def faults_of(checkpoint: Path, world_size: int = 1) -> list[str]:
    """Return what keeps `checkpoint` from being resumed; an empty list means it is complete."""
    faults: list[str] = []
    if (checkpoint / _INCOMPLETE).exists():
        faults.append(f"{_INCOMPLETE} is there")
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        faults.append("trainer_state.json is missing or cut")
    names = {item.name for item in checkpoint.iterdir()} if checkpoint.is_dir() else set[str]()
    if "scheduler.pt" not in names:
        faults.append("scheduler.pt is missing")
    if not names & {"optimizer.pt", "optimizer.bin", "optimizer_0", "latest"}:
        faults.append("the optimizer state is missing")
    faults += _missing_rng(names, world_size)
    tensors = sorted(checkpoint.glob("*.safetensors"))
    if not tensors and not names & {"pytorch_model_fsdp_0", "latest"}:
        faults.append("no weights")
    return faults + [f"{path.name} is cut" for path in tensors if not _whole(path)]


def mark_good(checkpoint: Path, **facts: float | int | str) -> None:
    """Mark a verified checkpoint, with what is known of it (step, loss, …)."""
    write_atomic(checkpoint / MARK, json.dumps({"step": step_of(checkpoint), **facts}))


def is_good(checkpoint: Path) -> bool:
    """Return whether the checkpoint was verified and marked, and its weights are still whole."""
    return (checkpoint / MARK).is_file() and all(map(_whole, checkpoint.glob("*.safetensors")))


def last_good(folder: Path, before: int | None = None) -> Path | None:
    """Return the newest good checkpoint under `folder`, at a step below `before` if given."""
    found = sorted(folder.glob("checkpoint-*"), key=step_of, reverse=True)
    for checkpoint in found:
        if (before is None or step_of(checkpoint) < before) and is_good(checkpoint):
            return checkpoint
    return None


def _missing_rng(names: set[str], world_size: int) -> list[str]:
    wanted = (
        {"rng_state.pth"} if world_size == 1 else {f"rng_state_{r}.pth" for r in range(world_size)}
    )
    return [f"{name} is missing" for name in sorted(wanted - names)]


def _whole(path: Path) -> bool:
    """Return whether a safetensors file is as long as its header says."""
    try:
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(size))
        ends = [
            entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"
        ]
        return path.stat().st_size == 8 + size + max(ends, default=0)
    except (OSError, ValueError, struct.error, KeyError, TypeError):
        return False
