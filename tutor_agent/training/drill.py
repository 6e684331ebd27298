"""The drill at the first checkpoint: what was written is read back and held against the weights in memory.

A checkpoint that cannot be loaded is of no use, and the time to find out is the first one, not the day on
which it is needed.
"""

from __future__ import annotations

import zipfile
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

import torch
from peft import PeftModel, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from torch.distributed.tensor import DTensor

from tutor_agent.training.weights import left_out, listed, parameters

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_SHARDED_WEIGHTS = "pytorch_model_fsdp.bin"
"""What a resume of a sharded run reads, whatever else is beside it."""
_OPTIMIZERS = ("optimizer.pt", "optimizer.bin")
_ARCHIVES = {".pt", ".pth", ".bin"}
_UNREADABLE = (OSError, RuntimeError, ValueError, KeyError, EOFError, zipfile.BadZipFile)

Read = dict[str, "Callable[[], torch.Tensor]"]
"""How to read each tensor of a checkpoint, by name; nothing is read before it is asked for."""


def read_back(model: Any, checkpoint: Path, *, first: bool) -> list[str]:
    """Return what of `checkpoint` cannot be read, or is not bit for bit what `model` holds.

    Every rank calls this, since weights that are spread over ranks are put together here, one at a time; no second
    model is built. Only the `first` rank reads the files, and only it knows the answer.

    Args:
        model: The model in training, without the wrapper of DDP.
        checkpoint: A checkpoint of its present weights.
        first: Whether this is the rank that wrote the weights.
    """
    own = parameters(model)
    sharded = any(isinstance(tensor, DTensor) for tensor in own.values())
    exported = own
    if isinstance(model, PeftModel):
        exported = dict(get_peft_model_state_dict(model, state_dict=own))
    faults: list[str] = []
    try:
        files = _safetensors(checkpoint) if first else {}
    except (*_UNREADABLE, SafetensorError) as error:
        files, faults = {}, [f"the weights cannot be read ({error})"]
    faults += _compare(exported, files, first=first, optional=left_out(model))
    if sharded:
        resumed = _load(checkpoint / _SHARDED_WEIGHTS, faults) if first else {}
        frozen = {name for name, tensor in own.items() if not tensor.requires_grad}
        faults += _compare(own, _held(resumed), first=first, optional=frozen)
    return faults + (_damaged(checkpoint) if first else [])


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
    faults = [f"saved differently from what is in memory: {listed(wrong)}"] if wrong else []
    return faults + ([f"saved and not in memory: {listed(unknown)}"] if unknown else [])


def _same(whole: torch.Tensor, read: Callable[[], torch.Tensor]) -> bool:
    try:
        found = read()
    except (*_UNREADABLE, SafetensorError):
        return False
    return found.dtype == whole.dtype and torch.equal(found, whole.cpu())


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
