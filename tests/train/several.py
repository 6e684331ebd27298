"""Train several runs one after another on the same processes, so that their imports are paid for once.

Started by torch.distributed.run: several.py MODEL JOBS, where JOBS is a list in JSON. A job is `run`, and if wanted
`resume` (a checkpoint) and `spoil` (a file of every checkpoint that is damaged right after it was written).
Every checkpoint stays.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.train import tiny
from tutor_agent.core.ranks import leave_rank
from tutor_agent.training import checkpoints

_save = transformers.Trainer._save_checkpoint


def spoiling(name: str) -> Any:
    """Return a way to save that damages the file `name` afterwards."""

    def save(self: Any, model: Any, trial: Any) -> None:
        _save(self, model, trial)
        if self.args.process_index == 0:
            folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
            spoil(folder / name)

    return save


def spoil(path: Path) -> None:
    """Change a stretch in the middle of a file, longer than any padding in it."""
    content = bytearray(path.read_bytes())
    for i in range(len(content) // 2, len(content) // 2 + 200):
        content[i] ^= 0x40
    path.write_bytes(content)


def main(model: Path, jobs: list[dict[str, str]]) -> int:
    """Train every job; return how many did not end well."""
    failed = 0
    for job in jobs:
        os.environ["TUTOR_RUN"] = job["run"]
        resume = Path(job["resume"]) if "resume" in job else None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(checkpoints, "_KEPT_GOOD", 99)
            if "spoil" in job:
                patch.setattr(transformers.Trainer, "_save_checkpoint", spoiling(job["spoil"]))
            failed += tiny.train_here(patch, Path(job["run"]), model, resume) != 0
    return failed


if __name__ == "__main__":
    leave_rank(main(Path(sys.argv[1]), json.loads(sys.argv[2])))
