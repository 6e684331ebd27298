"""Look at loss and gradients before the optimizer does, so that a bad step never reaches the weights.

Each optimizer step, all ranks share four numbers and take the same decision from them. The rules that
work from the first step on are used here (non-finite, above chance level); slow drift needs long curves
and is the tutor's to judge.
"""

from __future__ import annotations

import math
import zlib
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import torch

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tutor_agent.data.collate import Batch

Verdict = Literal["go", "skip", "non_finite_loss", "non_finite_gradient", "diverged"]

_PATIENCE = 3
"""Steps in a row above the limit before a run counts as diverged; one bad batch is no divergence."""
_ABOVE_CHANCE = 1.0
_BEGAN_WELL = 0.7
_AT_CHANCE = 0.95
_MAX_SKIPPED_IN_A_ROW = 5
_MAX_SCALER_BACKOFFS = 20
"""A fp16 scaler that starts at 2^16 finds its scale in fewer skipped steps than this."""
_WINDOW = 5
_SANE_RISE = 1.5
_SANE_MARGIN = 0.5
_HELD_OUT_RISE = 1.3
_HELD_OUT_MARGIN = 0.25
"""A held-out mean is steadier than the losses of single batches, so less of a rise is allowed."""


REASONS: dict[str, Text] = {
    "non_finite_loss": Text(
        en="The loss of step {step} is not a finite number; the step was not taken.",
        zh="第 {step} 步的损失不是有限数；该步未执行。",
    ),
    "non_finite_gradient": Text(
        en="The gradient of step {step} is not finite; the step was not taken.",
        zh="第 {step} 步的梯度不是有限数；该步未执行。",
    ),
    "diverged": Text(
        en="The loss has risen to {loss:.2f} by step {step}, worse than blind guessing ({chance:.2f}); stopped.",
        zh="到第 {step} 步损失已升至 {loss:.2f}，比随机猜测（{chance:.2f}）还差；训练已停止。",
    ),
}
"""Why the guard stops a run, in words."""


class StepFacts(NamedTuple):
    """What the ranks agreed on for one optimizer step."""

    loss: float
    grad_norm: float
    tokens: int
    batch: int = 0
    """Checksum of the data rows of this rank: the same batch has the same one."""


@dataclass
class Guard:
    """Judges every step by the losses of all ranks.

    Attributes:
        vocabulary: Entries of the vocabulary; ln of it is the loss of blind guessing.
        on_non_finite: What the plan says about a NaN or an infinity.
        scaled: Whether a fp16 gradient scaler is at work, which meets infinities while finding its scale.
        losses: Finite losses so far, oldest first; a resumed run brings those before its checkpoint.
    """

    vocabulary: int
    on_non_finite: Literal["stop", "skip"] = "stop"
    scaled: bool = False
    losses: list[float] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    facts: StepFacts | None = None
    _micro: list[torch.Tensor] = field(default_factory=list)
    _high: int = 0
    _skipped: int = 0
    _scaled_back: int = 0

    def remember(self, losses: Iterable[float]) -> None:
        """Take over the losses of the steps before a resume."""
        self.losses = [loss for loss in losses if math.isfinite(loss)]

    def saw(self, batch: Batch, loss: torch.Tensor) -> None:
        """Note one micro-batch of the current step; nothing is read from the device before `judge`."""
        self.batches.append(batch)
        self._micro.append(loss.detach())

    def judge(self, grad_norm: torch.Tensor | float) -> Verdict:
        """Decide on the current step, the same way on every rank, and begin the next one."""
        norm = float(grad_norm)
        loss, tokens = self._shared()
        self.facts = StepFacts(loss, norm, tokens, self._checksum())
        if not math.isfinite(loss):
            return self._bad("non_finite_loss")
        if not math.isfinite(norm):
            self._scaled_back += 1
            if self.scaled and self._scaled_back <= _MAX_SCALER_BACKOFFS:
                return "go"
            return self._bad("non_finite_gradient")
        self._skipped = self._scaled_back = 0
        self.losses.append(loss)
        limit = divergence_limit(self.vocabulary, self.losses[0])
        self._high = self._high + 1 if loss > limit else 0
        return "diverged" if self._high >= _PATIENCE else "go"

    def next_step(self) -> None:
        """Forget the batches of the step that was judged."""
        self.batches.clear()
        self._micro.clear()

    @property
    def loss_of_step(self) -> float:
        """Return the loss of the current step on this rank."""
        return float(torch.stack(self._micro).sum()) if self._micro else math.nan

    def sane(self, held_out: Sequence[float] = ()) -> bool:
        """Return whether a checkpoint of the present weights can be trusted.

        Args:
            held_out: Validation losses so far, the present one last.
        """
        return not self._high and losses_are_sane(self.losses) and self._held_out_sane(held_out)

    def _held_out_sane(self, held_out: Sequence[float]) -> bool:
        """Return whether the latest validation loss is near the best, or near where training began."""
        if not held_out or not self.losses:
            return True
        best = min([*held_out[:-1], self.losses[0]])
        return (
            math.isfinite(held_out[-1]) and held_out[-1] <= _HELD_OUT_RISE * best + _HELD_OUT_MARGIN
        )

    def _checksum(self) -> int:
        rows = [batch["rows"].flatten() for batch in self.batches if "rows" in batch]
        numbers = sorted(torch.cat(rows).tolist()) if rows else []
        return zlib.crc32(repr(numbers).encode())

    def _bad(self, verdict: Verdict) -> Verdict:
        self._skipped += 1
        patient = self.on_non_finite == "skip" and self._skipped <= _MAX_SKIPPED_IN_A_ROW
        return "skip" if patient else verdict

    def _shared(self) -> tuple[float, int]:
        """Return the mean loss and the tokens over all ranks; one NaN makes the mean NaN."""
        if not self._micro:
            return math.nan, 0
        loss = torch.stack(self._micro).sum().float()
        tokens = torch.cat([batch["tokens"] for batch in self.batches]).sum().to(loss.device)
        # fp64 keeps token counts exact; devices without it (mps) hand the two numbers to the CPU.
        place = "cpu" if loss.device.type == "mps" else loss.device
        numbers = torch.stack([loss.to(place).double(), tokens.to(place).double()])
        world = 1
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(numbers)
            world = torch.distributed.get_world_size()
        summed, counted = numbers.tolist()
        return summed / world, int(counted)


def divergence_limit(vocabulary: int, first: float) -> float:
    """Return the loss that a run in order never stays above.

    Blind guessing costs ln(vocabulary). A run that began well below it and is back at guessing has lost
    its weights, also where the loss settles there and goes no higher; one that began near it has when it
    is clearly worse.
    """
    chance = math.log(vocabulary)
    if first < _BEGAN_WELL * chance:
        return _AT_CHANCE * chance
    return max(chance, first) + _ABOVE_CHANCE


def losses_are_sane(losses: Sequence[float]) -> bool:
    """Return whether the latest losses have not risen far above the best stretch so far."""
    if not losses:
        return True
    window: deque[float] = deque(maxlen=_WINDOW)
    best = math.inf
    for loss in losses:
        window.append(loss)
        best = min(best, sum(window) / len(window)) if len(window) == _WINDOW else best
    latest = sum(window) / len(window)
    reference = min(best, losses[0])
    return math.isfinite(latest) and latest <= _SANE_RISE * reference + _SANE_MARGIN
