"""A stop that all ranks take at the same step, with a checkpoint."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

if TYPE_CHECKING:
    from pathlib import Path
    from types import FrameType

    from transformers import TrainerControl, TrainerState, TrainingArguments

MARKER = "STOP"


class SyncStop(TrainerCallback):
    """Whoever is asked, all stop: a signal to any rank, or the file `STOP` in the run folder.

    transformers' own answer to a signal is taken by each rank for itself, and a signal that reaches one
    rank alone leaves the others waiting for it forever.
    """

    def __init__(self, run: Path) -> None:
        self._marker = run / MARKER
        self._asked = False
        self.stopped = False
        for number in (signal.SIGTERM, signal.SIGUSR1):
            signal.signal(number, self._ask)

    def agreed(self, device: torch.device) -> bool:
        """Return whether any rank was asked to stop. Every rank calls this at the same place."""
        asked = self._asked or self._marker.exists()
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            flag = torch.tensor([int(asked)], device=device)
            torch.distributed.all_reduce(flag, op=torch.distributed.ReduceOp.MAX)
            asked = bool(flag.item())
        self.stopped = self.stopped or asked
        return asked

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Save and stop after this step when any rank was asked to."""
        if self.agreed(args.device):
            control.should_save = True
            control.should_training_stop = True

    def _ask(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self._asked = True
