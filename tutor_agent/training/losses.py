"""The loss of a causal language model, computed only where it counts."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

from tutor_agent.data.labels import IGNORED
from tutor_agent.training.classifier import class_scores, is_classifier
from tutor_agent.training.segments import cuts_rows, without_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.data.collate import Batch

_CHUNK = 2**22
"""Logits that are turned into losses at a time: 16 MiB in fp32."""
_READ = ("input_ids", "attention_mask", "position_ids")


class TokenLosses(NamedTuple):
    """Predictions at the places that carry loss in any row (B rows, K places, V entries)."""

    logits_bkv: torch.Tensor
    targets_bk: torch.Tensor
    extra: torch.Tensor | None
    """Auxiliary loss of a mixture of experts, when the model's configuration asks for one."""

    @property
    def total(self) -> torch.Tensor:
        """Return the summed negative log-likelihood; while training, the logits are used up by it."""
        logits_nv, targets_n = self.logits_bkv.flatten(0, 1), self.targets_bk.flatten()
        if logits_nv.requires_grad:
            summed: Any = _SummedCrossEntropy.apply(logits_nv, targets_n)
            return summed
        losses = [
            torch.nn.functional.cross_entropy(
                logits.float(), targets, ignore_index=IGNORED, reduction="sum"
            )
            for logits, targets in _chunks(logits_nv, targets_n)
        ]
        return torch.stack(losses).sum()

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


class _SummedCrossEntropy(torch.autograd.Function):
    """Cross-entropy that writes its gradient over the logits, a chunk of rows at a time.

    The usual way holds the logits, their log-softmax and their gradient at once, each of them often larger
    than the rest of the activations of a small model. Nothing before it reads the logits again: a head ends
    in a matrix product or a scaling, whose backward passes need their inputs only. Where that does not hold
    autograd notices the changed tensor and raises.
    """

    @staticmethod
    def forward(ctx: Any, logits_nv: torch.Tensor, targets_n: torch.Tensor) -> torch.Tensor:
        """Return the summed loss (a scalar in fp32)."""
        total = torch.zeros((), dtype=torch.float32, device=logits_nv.device)
        for logits, targets in _chunks(logits_nv.detach(), targets_n):
            counted = targets != IGNORED
            places = targets.clamp(min=0).unsqueeze(1)
            logp = torch.log_softmax(logits.float(), dim=1)
            total -= (logp.gather(1, places).squeeze(1) * counted).sum()
            gradient = logp.exp_()
            gradient.scatter_add_(1, places, torch.full_like(places, -1, dtype=gradient.dtype))
            logits.copy_(gradient.mul_(counted.unsqueeze(1)))
        ctx.save_for_backward(logits_nv)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *grad_outputs: torch.Tensor
    ) -> tuple[torch.Tensor, None]:
        """Scale the gradient that the forward pass left behind."""
        (gradient_nv,) = ctx.saved_tensors
        return gradient_nv.detach().mul_(grad_outputs[0]), None


def _chunks(
    logits_nv: torch.Tensor, targets_n: torch.Tensor
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    rows = max(1, _CHUNK // logits_nv.shape[1])
    for i in range(0, len(targets_n), rows):
        yield logits_nv[i : i + rows], targets_n[i : i + rows]


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
    cutting: Any = nullcontext()
    if "lengths" in batch and cuts_rows(body):
        inputs["segments"], cutting = batch["lengths"].tolist(), without_mask()
    with cutting:
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
