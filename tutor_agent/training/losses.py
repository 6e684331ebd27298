"""The loss of a causal language model, computed only where it counts."""

from __future__ import annotations

import inspect
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tutor_agent.data.labels import IGNORED
from tutor_agent.training.classifier import class_scores, is_classifier

if TYPE_CHECKING:
    from tutor_agent.data.collate import Batch

_READ = ("input_ids", "attention_mask", "position_ids")


class TokenLosses(NamedTuple):
    """Predictions at the places that carry loss in any row (B rows, K places, V entries)."""

    logits_bkv: torch.Tensor
    targets_bk: torch.Tensor
    extra: torch.Tensor | None
    """Auxiliary loss of a mixture of experts, when the model's configuration asks for one."""

    @property
    def total(self) -> torch.Tensor:
        """Return the summed negative log-likelihood."""
        return torch.nn.functional.cross_entropy(
            self.logits_bkv.float().flatten(0, 1),
            self.targets_bk.flatten(),
            ignore_index=IGNORED,
            reduction="sum",
        )

    @property
    def by_row(self) -> torch.Tensor:
        """Return the mean negative log-likelihood of each row; NaN for a row without loss."""
        losses = torch.nn.functional.cross_entropy(
            self.logits_bkv.float().transpose(1, 2),
            self.targets_bk,
            ignore_index=IGNORED,
            reduction="none",
        )
        return losses.sum(dim=1) / (self.targets_bk != IGNORED).sum(dim=1)


def token_losses(model: torch.nn.Module, batch: Batch, body: torch.nn.Module) -> TokenLosses:
    """Run `model` on `batch`.

    The output head is applied only at places that carry loss in some row: with answers alone supervised
    that is a fraction of the places, and the logits are most of the memory of a small model.

    Args:
        model: What is called: the model, or its distributed wrapper.
        batch: As the collator makes it.
        body: The model inside the wrappers, whose signature says what it accepts.
    """
    if is_classifier(body):
        return TokenLosses(*class_scores(model, batch), None)
    targets_bt = batch["labels"][:, 1:]
    inputs: dict[str, Any] = {key: batch[key] for key in _READ if key in batch}
    places_k = (targets_bt != IGNORED).any(dim=0).nonzero().squeeze(1)
    if not len(places_k):
        places_k = torch.zeros(1, dtype=torch.long, device=targets_bt.device)
    selective = _selects_logits(type(body))
    if selective:
        inputs["logits_to_keep"] = places_k
    outputs = model(**inputs, use_cache=False)
    logits = outputs.logits if selective else outputs.logits[:, places_k]
    return TokenLosses(logits, targets_bt[:, places_k], _extra(outputs, body))


def _extra(outputs: Any, body: Any) -> torch.Tensor | None:
    found = getattr(outputs, "aux_loss", None)
    if found is None or not getattr(body.config, "output_router_logits", False):
        return None
    return float(getattr(body.config, "router_aux_loss_coef", 0.0)) * found


@lru_cache
def _selects_logits(kind: type[Any]) -> bool:
    return "logits_to_keep" in inspect.signature(kind.forward).parameters
