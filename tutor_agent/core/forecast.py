"""What a plan will cost."""

from __future__ import annotations

from typing import Literal

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text


class Range(Contract):
    """A figure with its honest spread."""

    low: float
    """Not less than this, most likely."""
    expected: float
    """Best single figure."""
    high: float
    """Plan for this one."""


class Forecast(Contract):
    """Memory, time and disk of one plan."""

    peak_gib: Range
    """Peak memory per GPU (or of the process on a CPU) in GiB."""
    parts: dict[str, float]
    """GiB by part: weights, gradients, states, activations, loss, work, communication, context."""
    peak_stage: Literal["load", "loss", "backward", "step"]
    """The stage at which memory peaks."""
    capacity_gib: float | None
    """Memory of one device; None when unknown."""
    fits: Literal["yes", "tight", "no", "unknown"]
    """`yes` only when the high figure fits."""
    tokens_per_second: float
    """Training speed over all devices."""
    steps: int
    """Optimizer steps."""
    hours: Range
    """Wall time, evaluation included."""
    disk_gib: float
    """Checkpoints and the result on disk."""
    trainable: int
    """Parameters that are trained."""
    notes: tuple[Text, ...] = ()
    """What the figures rest on, and the lever that would help most."""
