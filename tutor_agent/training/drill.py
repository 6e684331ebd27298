"""The drill at the first checkpoint: what was written is read back and held against the weights in memory.

A checkpoint that cannot be loaded is of no use, and the time to find out is the first one, not the day on
which it is needed.
"""

from __future__ import annotations

import zipfile
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch.distributed.tensor import DTensor
from transformers import PreTrainedModel

from tutor_agent.core.errors import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_SHARDED_WEIGHTS = "pytorch_model_fsdp.bin"
"""What a resume of a sharded run reads, whatever else is beside it."""
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_ARCHIVES = {".pt", ".pth", ".bin"}
_TOLD = 3
_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile)

Read = dict[str, "Callable[[], torch.Tensor]"]
"""How to read each tensor of a checkpoint, by name; nothing is read before it is asked for."""


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


def read_back(model: Any, checkpoint: Path, *, first: bool) -> list[str]:
    """Return what of `checkpoint` cannot be read, or is not bit for bit what `model` holds.

    Every rank calls this, since weights that are spread over ranks are put together here, one at a time; no second
    model is built. Only the `first` rank reads the files, and only it knows the answer.

    Args:
        model: The model in training, without the wrapper of DDP.
        checkpoint: A checkpoint of its present weights.
        first: Whether this is the rank that wrote the weights.
    """
    own = _parameters(model)
    sharded = any(isinstance(tensor, DTensor) for tensor in own.values())
    exported = own
    if isinstance(model, PeftModel):
        exported = dict(get_peft_model_state_dict(model, state_dict=own))
    faults: list[str] = []
    try:
        files = _safetensors(checkpoint) if first else {}
    except (*_UNREADABLE, SafetensorError) as error:
        files, faults = {}, [f"the weights cannot be read ({error})"]
    faults += _compare(exported, files, first=first, optional=_left_out(model))
    if sharded:
        resumed = _load(checkpoint / _SHARDED_WEIGHTS, faults) if first else {}
        frozen = {name for name, tensor in own.items() if not tensor.requires_grad}
        faults += _compare(own, _held(resumed), first=first, optional=frozen)
    return faults + (_damaged(checkpoint) if first else [])


def refuse_missing_weights(model: Any, missing: list[str], unexpected: list[str]) -> None:
    """Check that a checkpoint brought every weight of `model`.

    transformers only warns, and trains on with what was there at the start.

    Raises:
        CheckpointError: A weight was not in it, or was there under a name that means nothing here.
    """
    own = _parameters(model)
    loaded = {id(tensor) for name, tensor in own.items() if name not in missing}
    lost = [name for name in missing if name in own and id(own[name]) not in loaded]
    wrong = [name for name in [*lost, *unexpected] if name not in _left_out(model)]
    if wrong:
        listed = _short(wrong)
        raise CheckpointError(
            f"The checkpoint does not fit this model; these weights are missing or unknown: {listed}. Begin anew, or "
            "from a checkpoint of the same model.",
            f"检查点与该模型不符，缺少或无法识别的权重：{listed}。请重新开始，或使用同一模型的检查点。",
        )


def _compare(
    live: dict[str, torch.Tensor], saved: Read, *, first: bool, optional: set[str]
) -> list[str]:
    """Return how `saved` differs from `live`; a tensor that has two names is saved under one of them."""
    wrong: list[str] = []
    written = {id(tensor) for name, tensor in live.items() if name in saved}
    for name, tensor in live.items():
        whole = _whole(tensor)
        if not first:
            continue
        if name in saved:
            if not _same(whole, saved[name]):
                wrong.append(name)
        elif id(tensor) not in written and name not in optional:
            wrong.append(name)
    unknown = [name for name in saved if name not in live]
    faults = [f"saved differently from what is in memory: {_short(wrong)}"] if wrong else []
    return faults + ([f"saved and not in memory: {_short(unknown)}"] if unknown else [])


def _same(whole: torch.Tensor, read: Callable[[], torch.Tensor]) -> bool:
    try:
        found = read()
    except (*_UNREADABLE, SafetensorError):
        return False
    return found.dtype == whole.dtype and torch.equal(found, whole.cpu())


def _parameters(model: Any) -> dict[str, torch.Tensor]:
    return {
        name.replace("_orig_mod.", ""): tensor
        for name, tensor in model.state_dict(keep_vars=True).items()
        if isinstance(tensor, torch.Tensor)
    }


def _left_out(model: Any) -> set[str]:
    return {*(getattr(model, "_keys_to_ignore_on_save", None) or ())}


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """Put a tensor together that is spread over ranks; all of them take part."""
    if isinstance(tensor, DTensor):
        return tensor.full_tensor().detach()
    if hasattr(tensor, "ds_id"):
        gather: Any = import_module("deepspeed").zero.GatheredParameters
        with gather([tensor]):
            return tensor.detach().clone()
    return tensor.detach()


def _safetensors(checkpoint: Path) -> Read:
    found: Read = {}
    for path in sorted(checkpoint.glob("*.safetensors")):
        handle: Any = safe_open(path, framework="pt", device="cpu")
        found |= {name: partial(handle.get_tensor, name) for name in handle.keys()}  # noqa: SIM118
    return found


def _held(tensors: dict[str, Any]) -> Read:
    return {name: partial(tensors.__getitem__, name) for name in tensors}


def _load(path: Path, faults: list[str]) -> dict[str, Any]:
    """Open a file of torch without reading the tensors in it; what is wrong is added to `faults`."""
    try:
        return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except _UNREADABLE as error:
        faults.append(f"{path.name} cannot be read ({type(error).__name__}: {error})")
        return {}


def _damaged(checkpoint: Path) -> list[str]:
    """Return which of the files beside the weights are not as they were written."""
    faults: list[str] = []
    for path in sorted(checkpoint.rglob("*")):
        if path.suffix not in _ARCHIVES:
            continue
        try:
            with zipfile.ZipFile(path) as archive:
                part = archive.testzip()
        except _UNREADABLE as error:
            part = str(error)
        if part:
            faults.append(f"{path.name} is damaged ({part})")
    for name in _OPTIMIZERS:
        path = checkpoint / name
        if path.is_file() and "param_groups" not in _load(path, faults):
            faults.append(f"{name} holds no optimizer state")
    return faults


def _short(names: list[str]) -> str:
    more = len(names) - _TOLD
    return ", ".join(names[:_TOLD]) + (f" (+{more})" if more > 0 else "")
