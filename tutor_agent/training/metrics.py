"""Held-out figures, weighted by token, so that neither batch size nor process count moves them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from tutor_agent.core.metric_names import METRICS
from tutor_agent.data.labels import IGNORED
from tutor_agent.training.classifier import ClassTally, is_classifier

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.training.losses import TokenLosses

KNOWN = ("perplexity", "token_accuracy", "exact_match", "accuracy")
"""The metrics that need no written answer: of `exact_match` and `accuracy` the likeliest tokens, given
the right beginning, stand in for what would be written."""
_MAX_EXPONENT = 80.0


def tally_for(model: Any, device: torch.device) -> Tally | ClassTally:
    """Return an empty tally for `model` without its wrappers: of tokens, or of classes."""
    if is_classifier(model):
        return ClassTally(list(model.config.id2label.values()), device)
    return Tally(device)


class Tally:
    """Sums over batches; five numbers that add up over processes."""

    def __init__(self, device: torch.device) -> None:
        self._sums = torch.zeros(5, dtype=torch.float64, device=device)

    def add(self, found: TokenLosses) -> None:
        """Add one batch."""
        counted = found.targets_bk != IGNORED
        right = (found.logits_bkv.argmax(dim=-1) == found.targets_bk) & counted
        rows = counted.any(dim=1)
        exact = (right == counted).all(dim=1) & rows
        numbers = (found.total, counted.sum(), right.sum(), exact.sum(), rows.sum())
        self._sums += torch.stack([number.double() for number in numbers])

    def share(self) -> None:
        """Add up over all processes."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(self._sums)

    def figures(self) -> dict[str, float]:
        """Return the loss per token and all metrics of `KNOWN`.

        An answer is an exact match when every token is the likeliest one given the right beginning:
        that is what greedy generation would have written.
        """
        loss_sum, tokens, right, exact, rows = (float(number) for number in self._sums)
        loss = loss_sum / tokens if tokens else math.nan
        exact_share = exact / rows if rows else math.nan
        return {
            "loss": loss,
            "perplexity": math.exp(min(loss, _MAX_EXPONENT)),
            "token_accuracy": right / tokens if tokens else math.nan,
            "exact_match": exact_share,
            "accuracy": exact_share,
        }


def chosen(figures: dict[str, float], names: Iterable[str]) -> dict[str, float]:
    """Return the loss, the perplexity and the metrics that a plan names, as far as they are known."""
    wanted = {"loss", "perplexity", *names}
    return {name: value for name, value in figures.items() if name in wanted}


def needs_answers(names: Iterable[str]) -> bool:
    """Return whether one of the metrics is measured on written answers."""
    return any(METRICS[name].answers for name in names if name in METRICS)
