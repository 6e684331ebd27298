"""The linear layers of a transformer block by name: how wide, how many, how often used."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.facts import Shape


class Linear(NamedTuple):
    """One linear layer, or all copies of it in a block of experts."""

    name: str
    """Module name, such as `q_proj` or `experts.down_proj`."""
    inputs: int
    """Input width."""
    outputs: int
    """Output width."""
    copies: int = 1
    """How many of it are in one block."""
    active: int = 1
    """How many of them work on one token."""

    @property
    def weights(self) -> int:
        """Parameters of all copies, without biases."""
        return self.inputs * self.outputs * self.copies


def attention(shape: Shape) -> tuple[Linear, ...]:
    """Return the linear layers of one attention block."""
    h, latent = shape.hidden, shape.latent
    if latent is None:
        q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        return (
            Linear("q_proj", h, q),
            Linear("k_proj", h, kv),
            Linear("v_proj", h, kv),
            Linear("o_proj", q, h),
        )
    query = shape.heads * (latent.nope_dim + latent.rope_dim)
    down = (
        (Linear("q_proj", h, query),)
        if latent.q_rank is None
        else (Linear("q_a_proj", h, latent.q_rank), Linear("q_b_proj", latent.q_rank, query))
    )
    return (
        *down,
        Linear("kv_a_proj_with_mqa", h, latent.kv_rank + latent.rope_dim),
        Linear("kv_b_proj", latent.kv_rank, shape.heads * (latent.nope_dim + latent.v_dim)),
        Linear("o_proj", shape.heads * latent.v_dim, h),
    )


def mlp(shape: Shape, *, sparse: bool) -> tuple[Linear, ...]:
    """Return the linear layers of one MLP: dense, or experts without their router."""
    h, experts = shape.hidden, shape.experts
    if not sparse or experts is None:
        return _mlp("", h, shape.intermediate, shape.gated)
    width = experts.intermediate
    rows = 2 * width if shape.gated else width
    # transformers keeps all routed experts of a block in two fused tensors.
    layers = (
        Linear("experts.gate_up_proj", h, rows, experts.routed, experts.active),
        Linear("experts.down_proj", width, h, experts.routed, experts.active),
    )
    if experts.shared:
        layers += _mlp("shared_experts.", h, width * experts.shared, shape.gated)
    return layers


def blocks(shape: Shape) -> Iterator[tuple[int, tuple[Linear, ...]]]:
    """Yield the kinds of blocks from the bottom up: (how many, their linear layers)."""
    attend = attention(shape)
    dense = shape.layers if shape.experts is None else shape.experts.first_dense_layers
    if dense:
        yield dense, attend + mlp(shape, sparse=False)
    if dense < shape.layers:
        yield shape.layers - dense, attend + mlp(shape, sparse=True)


def block_at(shape: Shape, index: int) -> tuple[Linear, ...]:
    """Return the linear layers of block `index`, counted from the bottom."""
    for count, layers in blocks(shape):
        if index < count:
            return layers
        index -= count
    return ()


def linear_weights(shape: Shape) -> int:
    """Return the parameters of all linear layers in all blocks (no embedding, no head)."""
    return sum(count * sum(x.weights for x in layers) for count, layers in blocks(shape))


def quantisable_weights(shape: Shape) -> tuple[int, int]:
    """Return the weights that 4- or 8-bit loading replaces, and those of one layer at most.

    Routed experts are fused tensors, no linear layers, and stay as they are.
    """
    kinds = [
        (n, [x for x in layers if not x.name.startswith("experts.")]) for n, layers in blocks(shape)
    ]
    total = sum(count * sum(x.weights for x in layers) for count, layers in kinds)
    return total, max((x.weights for _, layers in kinds for x in layers), default=0)


def _mlp(prefix: str, hidden: int, width: int, gated: bool) -> tuple[Linear, ...]:
    up = (Linear(f"{prefix}up_proj", hidden, width),)
    gate = (Linear(f"{prefix}gate_proj", hidden, width),) if gated else ()
    return gate + up + (Linear(f"{prefix}down_proj", width, hidden),)
