"""Peak memory of one device, in closed form.

    peak = weights + states + communication + frag * max(loss stage, backward stage, step stage)

The coefficients are bytes per token and layer for Llama- and Qwen-like models under transformers 5,
PEFT's fp32 adapters and autocast. They agree with traces of real steps within one per cent; see the
worked examples in the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.core.contract import Contract
from tutor_agent.core.plan import Optimizer, Sharding
from tutor_agent.estimate.linear import Linear, blocks, linear_weights

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts, Shape
    from tutor_agent.estimate.footprint import Footprint

GIB = 2**30
FRAGMENTATION = 1.06
LOSS_BYTES_PER_LOGIT = 12
FUSED_LOSS_BYTES_PER_LOGIT = 8
BUCKET = 500_000_000
LIVE_PARAMETERS = 1_000_000_000
NF4_BYTES = {"nf4": 0.5 + 4 / 64, "nf4-double": 0.5 + 1 / 64 + 4 / 16384}

Stage = Literal["loss", "backward", "step"]


class Setting(Contract):
    """Everything memory depends on beside the model and the method."""

    dtype: Literal["bf16", "fp16", "fp32"]
    """Compute precision."""
    optimizer: Optimizer = "adamw"
    """Optimizer."""
    micro_batch: int = 1
    """Samples per forward pass on one device."""
    length: int = 1024
    """Tokens of the longest sample."""
    accumulate: int = 1
    """Forward passes per step."""
    checkpointing: bool = False
    """Whether activations are recomputed."""
    attention: str = "sdpa"
    """Attention implementation."""
    processes: int = 1
    """Devices together."""
    sharding: Sharding = "none"
    """How model states are spread."""
    offload: bool = False
    """Whether model states live on the CPU."""
    fused_loss: bool = False
    """Whether the loss never builds all logits (Liger and the like)."""

    @property
    def tokens(self) -> int:
        """Tokens in one forward pass."""
        return self.micro_batch * self.length


class Memory(NamedTuple):
    """Peak memory of one device in bytes, and where it comes from."""

    peak: float
    stage: Stage
    parts: dict[str, float]


class _States(NamedTuple):
    weights: float
    gradients: float
    optimizer: float


def memory(model: ModelFacts, footprint: Footprint, setting: Setting) -> Memory:
    """Return the peak that the training process reserves on one device."""
    states = _states(model, footprint, setting)
    saved = _saved(model.shape, footprint, setting)
    work = _work(model.shape, footprint, setting)
    loss = _loss(model.shape, footprint, setting)
    communication = _communication(model, footprint, setting)
    keep = states.gradients if setting.accumulate > 1 else 0.0
    head_input = 10.0 * setting.tokens * model.shape.hidden
    stages: dict[Stage, float] = {
        "loss": saved + loss + head_input + keep,
        "backward": states.gradients + work + saved / max(1, footprint.reached_layers),
        "step": states.gradients,
    }
    stage = max(stages, key=lambda name: stages[name])
    peak = states.weights + states.optimizer + communication + FRAGMENTATION * stages[stage]
    parts = {
        "weights": states.weights,
        "gradients": states.gradients,
        "states": states.optimizer,
        "activations": saved,
        "loss": loss,
        "work": work,
        "communication": communication,
    }
    return Memory(peak, stage, parts)


def is_master(footprint: Footprint, setting: Setting) -> bool:
    """Return whether the weights are held in fp32 under a 16-bit autocast.

    fp16 gradients cannot be unscaled, so fp16 training of the weights themselves needs it.
    """
    return setting.dtype == "fp16" and footprint.method != "lora"


def weight_bytes(footprint: Footprint, setting: Setting) -> int:
    """Return the bytes of one base weight."""
    return 4 if setting.dtype == "fp32" or is_master(footprint, setting) else 2


def _states(model: ModelFacts, footprint: Footprint, setting: Setting) -> _States:
    """Return weights, gradients and optimizer states on one device."""
    unit, trained = weight_bytes(footprint, setting), footprint.trainable
    weights = float(unit * model.parameters.total)
    if footprint.frozen_bits != "none":
        linear = min(linear_weights(model.shape), model.parameters.total)
        upcast = 4 * (model.parameters.total - linear)
        weights = NF4_BYTES[footprint.frozen_bits] * linear + upcast
    own = 4 if footprint.method == "lora" else unit
    if footprint.method == "lora":
        weights += own * trained
    gradients = float(own * trained)
    optimizer = _optimizer_bytes(setting.optimizer, own) * trained
    if setting.sharding in {"zero2", "zero3"} and footprint.method != "lora" and unit == 2:
        optimizer += 8.0 * trained
    return _shard(_States(weights, gradients, optimizer), setting)


def _shard(states: _States, setting: Setting) -> _States:
    weights, gradients, optimizer = states
    share = 1 / setting.processes
    if setting.sharding in {"fsdp2", "zero3"}:
        weights *= share
    if setting.sharding != "none":
        gradients, optimizer = gradients * share, optimizer * share
    if setting.offload:
        optimizer = 0.0
        if setting.sharding == "fsdp2":
            weights = gradients = 0.0
    return _States(weights, gradients, optimizer)


def _optimizer_bytes(optimizer: Optimizer, weight: int) -> float:
    """Return state bytes per trained parameter; AdamW's moments follow the parameter's dtype."""
    fixed = {"adamw_8bit": 2.0, "paged_adamw_8bit": 0.0, "adafactor": 0.02, "sgd": 0.0}
    return fixed.get(optimizer, 2.0 * weight)


def _saved(shape: Shape, footprint: Footprint, setting: Setting) -> float:
    """Return the activations that wait for the backward pass."""
    tokens = setting.tokens
    if setting.checkpointing:
        unit = 4 if weight_bytes(footprint, setting) == 4 else 2
        return float(footprint.reached_layers * tokens * unit * shape.hidden)
    total, below = 0.0, shape.layers - footprint.reached_layers
    frozen = shape.layers - footprint.trained_layers
    position = 0
    for count, layers in blocks(shape):
        for index in range(position, position + count):
            if index >= below:
                total += _layer_bytes(shape, layers, footprint, setting, trained=index >= frozen)
        position += count
    scores = 0.0
    if setting.attention == "eager":
        scores = 9.0 * setting.micro_batch * shape.heads * setting.length**2
    return tokens * total + scores * footprint.reached_layers


def _layer_bytes(
    shape: Shape,
    layers: tuple[Linear, ...],
    footprint: Footprint,
    setting: Setting,
    *,
    trained: bool,
) -> float:
    """Return what one block saves per token without checkpointing."""
    h, kv, f = _widths(shape, layers)
    if setting.dtype == "fp32":
        ch, ck, cf = (32, 8, 16) if trained else (16, 8, 12)
    elif is_master(footprint, setting):
        ch, ck, cf = (38, 12, 20) if trained else (20, 8, 14)
    else:
        ch, ck, cf = (20, 4, 8) if trained else (12, 4, 6)
    plain = float(ch * h + ck * kv + cf * f)
    if not shape.gated:
        plain -= 6 * h + 3 * f
    return plain + _adapter_bytes(layers, footprint, setting)


def _adapter_bytes(layers: tuple[Linear, ...], footprint: Footprint, setting: Setting) -> float:
    """Return the inputs that adapters keep: 16-bit copies, or in fp32 the shared tensors themselves."""
    adapted = [x for x in layers if x.name in footprint.targets]
    mask = 1 if footprint.dropout > 0 else 0
    if setting.dtype != "fp32":
        return float(sum((2 + mask) * x.inputs * x.active for x in adapted))
    shared = {_input_of(x.name): x.inputs * x.active for x in adapted}
    # What enters o_proj is kept by the attention itself.
    shared.pop("o_proj", None)
    return float(4 * sum(shared.values()) + sum(mask * x.inputs * x.active for x in adapted))


def _input_of(name: str) -> str:
    """Return a name for the tensor that enters a linear layer; several layers share one."""
    *prefix, last = name.split(".")
    same = {
        "k_proj": "q_proj",
        "v_proj": "q_proj",
        "q_a_proj": "q_proj",
        "kv_a_proj_with_mqa": "q_proj",
    }
    return ".".join([*prefix, "up_proj" if last == "gate_proj" else same.get(last, last)])


def _work(shape: Shape, footprint: Footprint, setting: Setting) -> float:
    """Return what one block needs while it is recomputed and differentiated."""
    if footprint.method != "lora":
        ch, cf = 40, 16
    elif any("_proj" in name and _is_mlp(name) for name in footprint.targets):
        ch, cf = 35, 14
    else:
        ch, cf = 19, 12
    widths = [_widths(shape, layers) for _, layers in blocks(shape)]
    largest = max(ch * h + 4 * kv + cf * f for h, kv, f in widths)
    return float(setting.tokens * largest) * (2 if setting.dtype == "fp32" else 1)


def _is_mlp(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in {"gate_proj", "up_proj", "down_proj"}


def _widths(shape: Shape, layers: tuple[Linear, ...]) -> tuple[int, int, int]:
    """Return hidden, key/value and MLP widths as the activation formulae want them."""
    kv = shape.kv_heads * shape.head_dim
    if shape.latent is not None:
        kv = shape.heads * (shape.latent.nope_dim + shape.latent.rope_dim)
    wide = sum(x.inputs * x.active for x in layers if x.name.endswith("down_proj"))
    return shape.hidden, kv, wide


def _loss(shape: Shape, footprint: Footprint, setting: Setting) -> float:
    if not setting.fused_loss:
        return float(LOSS_BYTES_PER_LOGIT * setting.tokens * shape.vocab)
    chunk = max(setting.tokens / 8, min(setting.tokens, 1024))
    head = 2 * shape.vocab * shape.hidden if footprint.method == "full" else 0
    return chunk * shape.vocab * FUSED_LOSS_BYTES_PER_LOGIT + head


def _communication(model: ModelFacts, footprint: Footprint, setting: Setting) -> float:
    """Return buffers: autocast's copies, DDP's buckets, what sharding gathers."""
    shape, full = model.shape, footprint.method != "lora"
    linear = linear_weights(shape)
    unit = weight_bytes(footprint, setting)
    if setting.sharding == "none":
        copies = 2.0 * linear if is_master(footprint, setting) else 0.0
        gradients = (4 if not full else unit) * footprint.trainable
        return copies + (gradients if setting.processes > 1 else 0.0)
    layer = 2.0 * linear / shape.layers * (0.26 if footprint.frozen_bits != "none" else 1.0)
    share = model.parameters.total / setting.processes
    if setting.sharding == "fsdp2":
        root = 2.0 * shape.vocab * shape.hidden * (1 if shape.tied else 2)
        own = unit * linear / shape.layers if full else 0.0
        return 2 * layer + root + own
    if setting.sharding == "zero3":
        live = 0.8 * 2 * min(LIVE_PARAMETERS, model.parameters.total)
        return live + layer + (4.0 * min(LIVE_PARAMETERS, share) if full else 0.0)
    return (2.0 * BUCKET * 2 + 4.0 * min(LIVE_PARAMETERS, share)) if full else 0.0
