"""Weights by name, in memory and on disk: each written once, none lost when it is read."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from tutor_agent.core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOLD = 3


@contextmanager
def own_names(model: Any) -> Iterator[None]:
    """Let `model` save its weights under the names that they have in memory.

    transformers joins the experts of DeepSeek and others when it loads them, splits them again when it saves, and
    forgets about it on a resume: its Trainer then leaves them as they were at the start (seen with 5.24).
    """
    if not isinstance(model, PreTrainedModel):
        yield
        return
    model.__dict__["save_pretrained"] = partial(model.save_pretrained, save_original_format=False)
    try:
        yield
    finally:
        del model.__dict__["save_pretrained"]


def once_each(model: Any, gathered: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the weights that were `gathered` from many ranks, those that two layers share under one name only.

    transformers tells shared weights by their memory, and gathered ones are copies.
    """
    live = parameters(model)
    first: dict[int, str] = {}
    for name, tensor in live.items():
        first.setdefault(id(tensor), name)
    return {
        name: tensor
        for name, tensor in gathered.items()
        if name not in live or first[id(live[name])] == name
    }


def refuse_missing_weights(model: Any, missing: list[str], unexpected: list[str]) -> None:
    """Check that a checkpoint brought every weight of `model`.

    transformers only warns, and trains on with what was there at the start.

    Raises:
        CheckpointError: A weight was not in it, or was there under a name that means nothing here.
    """
    own = parameters(model)
    loaded = {id(tensor) for name, tensor in own.items() if name not in missing}
    lost = [name for name in missing if name in own and id(own[name]) not in loaded]
    wrong = [name for name in [*lost, *unexpected] if name not in left_out(model)]
    if wrong:
        told = listed(wrong)
        raise CheckpointError(
            f"The checkpoint does not fit this model; these weights are missing or unknown: {told}. Begin anew, or "
            "from a checkpoint of the same model.",
            f"检查点与该模型不符，缺少或无法识别的权重：{told}。请重新开始，或使用同一模型的检查点。",
        )


def parameters(model: Any) -> dict[str, torch.Tensor]:
    """Return the parameters and kept buffers of `model` themselves by name; a shared one has several names."""
    return {
        name.replace("_orig_mod.", ""): tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor)
    }


def left_out(model: Any) -> set[str]:
    """Return the names that the class of `model` never saves."""
    return {*(getattr(model, "_keys_to_ignore_on_save", None) or ())}


def listed(names: list[str]) -> str:
    """Return the first of many names, and how many more there are."""
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" (+{more})" if more > 0 else "")
