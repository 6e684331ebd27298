"""What a skill says about memory: which weights move, and how far down the backward pass goes."""

from __future__ import annotations

import difflib
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Literal

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.estimate.linear import attention, block_at, blocks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.core.facts import ModelFacts, Shape

NORM_VECTORS = 2
"""Normalisation vectors of the hidden width in one block."""


_FUSED = {
    "experts.gate_proj": "experts.gate_up_proj",
    "experts.up_proj": "experts.gate_up_proj",
}
_NORMS = ("input_layernorm", "post_attention_layernorm")
FrozenBits = Literal["none", "nf4", "nf4-double", "int8"]


class Footprint(Contract):
    """Which weights a training method moves."""

    method: Literal["full", "lora", "freezing"]
    """All weights, added low-rank adapters, or the top layers."""
    trainable: int
    """Parameters that are trained."""
    rank: int = 0
    """Rank of the adapters; 0 without adapters."""
    targets: tuple[str, ...] = ()
    """Linear layers that carry an adapter, by module name."""
    dropout: float = 0.0
    """Dropout in front of the adapters."""
    trained_layers: int
    """Blocks whose own weights move."""
    reached_layers: int
    """Blocks that the backward pass goes through."""
    frozen_bits: FrozenBits = "none"
    """Quantisation of the frozen linear weights."""


def full_footprint(model: ModelFacts) -> Footprint:
    """Describe training of every weight."""
    layers = model.shape.layers
    return Footprint(
        method="full",
        trainable=model.parameters.total,
        trained_layers=layers,
        reached_layers=layers,
    )


def freezing_footprint(
    model: ModelFacts,
    train_last: int,
    *,
    train_embeddings: bool = False,
    train_head: bool = False,
    train_modules: Sequence[str] = (),
) -> Footprint:
    """Describe training of the last `train_last` blocks, the normalisation above them and parts by name.

    Named parts are counted above `train_last` blocks too when they lie there; the figure is an upper bound.
    """
    shape = model.shape
    last = min(train_last, shape.layers)
    weights = sum(
        sum(x.weights for x in block_at(shape, i)) + NORM_VECTORS * shape.hidden
        for i in range(shape.layers - last, shape.layers)
    )
    weights += shape.hidden if last else 0
    table = shape.vocab * shape.hidden
    embedding = train_embeddings or (train_head and shape.tied)
    weights += table * (embedding + (train_head and not shape.tied))
    named, lowest = _named_parts(shape, train_modules)
    return Footprint(
        method="freezing",
        trainable=min(weights + named, model.parameters.total),
        trained_layers=last,
        reached_layers=shape.layers if embedding else max(last, shape.layers - lowest),
    )


def _named_parts(shape: Shape, names: Sequence[str]) -> tuple[int, int]:
    """Return the weights of the named parts, and the lowest block that has one."""
    attentive = set(resolve_targets(shape, "attention"))
    weights, lowest = 0, shape.layers
    for i in range(shape.layers):
        kinds = [
            (["layers", str(i), "self_attn" if x.name in attentive else "mlp", x.name], x.weights)
            for x in block_at(shape, i)
        ]
        norms = [(["layers", str(i), norm], shape.hidden) for norm in _NORMS]
        found = [
            size for path, size in (*kinds, *norms) if any(_fits(path, name) for name in names)
        ]
        if found:
            weights, lowest = weights + sum(found), min(lowest, i)
    table = shape.vocab * shape.hidden
    if any(_fits(("embed_tokens",), name) for name in names):
        weights, lowest = weights + table, 0
    elif any(_fits(("lm_head",), name) for name in names):
        weights, lowest = weights + table, 0 if shape.tied else lowest
    return weights, lowest


def _fits(path: Sequence[str], name: str) -> bool:
    wanted = name.split(".")
    return any(
        all(fnmatchcase(have, want) for have, want in zip(path[i:], wanted, strict=False))
        for i in range(len(path) - len(wanted) + 1)
    )


def lora_footprint(
    model: ModelFacts,
    rank: int,
    targets: str | Sequence[str] = "all-linear",
    *,
    dropout: float = 0.0,
    frozen_bits: FrozenBits = "none",
) -> Footprint:
    """Describe low-rank adapters of `rank` on `targets`.

    Raises:
        NotPossibleError: A target is not a linear layer of this model.
    """
    shape = model.shape
    names = resolve_targets(shape, targets)
    trainable = sum(
        count * layer.copies * rank * (layer.inputs + layer.outputs)
        for count, layers in blocks(shape)
        for layer in layers
        if layer.name in names
    )
    return Footprint(
        method="lora",
        trainable=trainable,
        rank=rank,
        targets=names,
        dropout=dropout,
        trained_layers=0,
        reached_layers=shape.layers,
        frozen_bits=frozen_bits,
    )


def resolve_targets(shape: Shape, targets: str | Sequence[str]) -> tuple[str, ...]:
    """Return the module names that `targets` means for this architecture.

    Raises:
        NotPossibleError: A name fits no linear layer of this architecture.
    """
    every = _names(shape)
    if targets == "all-linear":
        return every
    if targets == "attention":
        return tuple(layer.name for layer in attention(shape))
    asked = [targets] if isinstance(targets, str) else list(targets)
    found = [_FUSED.get(name, name) for name in asked]
    for name in found:
        if name not in every:
            raise _no_target(name, every)
    if not found:
        raise _no_target("", every)
    return tuple(dict.fromkeys(found))


def _names(shape: Shape) -> tuple[str, ...]:
    return tuple(dict.fromkeys(layer.name for _, layers in blocks(shape) for layer in layers))


def _no_target(name: str, known: tuple[str, ...]) -> NotPossibleError:
    near = difflib.get_close_matches(name, known, n=2, cutoff=0.4)
    return NotPossibleError(
        f"LoRA target {name!r} is not a linear layer of this model"
        + (f"; did you mean {near[0]!r}?" if near else ".")
        + f" It has: {', '.join(known)}; or use 'all-linear' or 'attention'.",
        f"LoRA 目标 {name!r} 不是该模型的线性层"
        + (f"；是否想写 {near[0]!r}？" if near else "。")
        + f"该模型有：{'、'.join(known)}；也可以写 'all-linear' 或 'attention'。",
    )
