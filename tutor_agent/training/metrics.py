"""Held-out figures, weighted by token, so that neither batch size nor process count moves them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch

from tutor_agent.data.labels import IGNORED

if TYPE_CHECKING:
    from tutor_agent.training.losses import TokenLosses

KNOWN = ("perplexity", "token_accuracy", "exact_match", "accuracy")
"""Names allowed in `evaluation.metrics`; `accuracy` is `exact_match` under the name used for classes."""
_MAX_EXPONENT = 80.0


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


def chosen(figures: dict[str, float], names: tuple[str, ...]) -> dict[str, float]:
    """Return the loss, the perplexity and the metrics that a plan names."""
    wanted = {"loss", "perplexity", *names}
    return {name: value for name, value in figures.items() if name in wanted}
