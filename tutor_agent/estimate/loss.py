"""What the loss holds: logits, their log-softmax and their gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract

if TYPE_CHECKING:
    from tutor_agent.core.facts import Shape
    from tutor_agent.estimate.footprint import Footprint
    from tutor_agent.estimate.memory import Setting

LOSS_BYTES_PER_LOGIT = 12
OWN_CHUNK = 2**22
"""Logits that the tutor's loss holds in fp32 at a time, with their log-softmax and gradient."""
FUSED_LOSS_BYTES_PER_LOGIT = 8


class LossSetting(Contract):
    """How the loss is computed, and at how many places."""

    own: bool = False
    """Whether it is the tutor's, whose gradient takes the place of the logits; else a trainer's usual one."""
    fused: bool = False
    """Whether no logits are built at all (Liger's loss and the like)."""
    supervised: int | None = None
    """Places of a sample that carry loss, at most; None for all."""
    classifier: bool = False
    """Whether a score a class replaces the vocabulary's head."""


def loss_bytes(shape: Shape, footprint: Footprint, setting: Setting) -> float:
    """Return what the logits and their derivatives take at the loss."""
    how = setting.loss
    if how.classifier:
        return 0.0
    if how.fused:
        chunk = max(setting.tokens / 8, min(setting.tokens, 1024))
        head = 2 * shape.vocab * shape.hidden if footprint.method == "full" else 0
        return chunk * shape.vocab * FUSED_LOSS_BYTES_PER_LOGIT + head
    # Logits are made for every place that carries loss in any sample of the batch.
    places = setting.length
    if how.supervised is not None:
        places = min(places, setting.micro_batch * how.supervised)
    logits = float(setting.micro_batch * places * shape.vocab)
    if how.own:
        unit = 4 if setting.dtype == "fp32" else 2
        return unit * logits + LOSS_BYTES_PER_LOGIT * min(logits, OWN_CHUNK)
    return LOSS_BYTES_PER_LOGIT * logits
