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
from tutor_agent.estimate.linear import Linear, blocks, linear_weights, quantisable_weights
from tutor_agent.estimate.loss import LossSetting, loss_bytes

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts, Shape
    from tutor_agent.estimate.footprint import Footprint

GIB = 2**30
FRAGMENTATION = 1.06
BUCKET = 500_000_000
LIVE_PARAMETERS = 1_000_000_000
# Bytes of a frozen weight: blocks of 64 share a constant, which double quantisation packs again; int8
# has one a row.
FROZEN_BYTES = {"nf4": 0.5 + 4 / 64, "nf4-double": 0.5 + 1 / 64 + 4 / 16384, "int8": 1.001}
COMPILED = 0.72
"""Activations of a compiled model against those of the same model run op by op; calibrated on few rows."""

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
    master: bool = False
    """Whether weights that move are held in fp32 under a 16-bit autocast."""
    masked: bool = False
    """Whether attention gets an explicit mask: padded or packed batches."""
    foreach: bool = False
    """Whether the optimizer makes a temporary copy of a state for all weights at once."""
    compiled: bool = False
    """Whether torch.compile fuses what lies between the matrix products."""
    loss: LossSetting = LossSetting()
    """How the loss is computed."""

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
    whole = _dequantised(model.shape, footprint, setting)
    loss = loss_bytes(model.shape, footprint, setting)
    communication = _communication(model, footprint, setting)
    keep = states.gradients if setting.accumulate > 1 else 0.0
    head_input = 10.0 * setting.tokens * model.shape.hidden
    stages: dict[Stage, float] = {
        "loss": saved + loss + head_input + keep,
        "backward": states.gradients + work + whole + saved / max(1, footprint.reached_layers),
        "step": states.gradients + (states.gradients if setting.foreach else 0.0),
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
    if whole:
        parts["dequantised"] = whole
    return Memory(peak, stage, parts)


def moving_bytes(footprint: Footprint, setting: Setting) -> int:
    """Return the bytes of one weight that moves; its gradient has the same size.

    Adapters are fp32. fp16 gradients cannot be unscaled, so fp16 training always moves fp32 weights.
    """
    wide = footprint.method == "lora" or setting.master or setting.dtype != "bf16"
    return 4 if wide else 2


def resting_bytes(setting: Setting) -> int:
    """Return the bytes of one weight that does not move.

    A sharded group holds one dtype: where fp32 weights move, the resting ones are fp32 too.
    """
    uniform = setting.master and setting.sharding == "fsdp2"
    return 4 if setting.dtype == "fp32" or uniform else 2


def _states(model: ModelFacts, footprint: Footprint, setting: Setting) -> _States:
    """Return weights, gradients and optimizer states on one device."""
    dropped = _dropped_head(model.shape, setting)
    total, trained = model.parameters.total - dropped, footprint.trainable
    if footprint.method == "full":
        trained -= dropped
    moving, resting = moving_bytes(footprint, setting), resting_bytes(setting)
    if footprint.method == "lora":
        weights = _frozen(model, footprint, resting, own=setting.loss.own)
        weights += moving * trained - resting * dropped
    else:
        weights = float(resting * (total - trained) + moving * trained)
    gradients = float(moving * trained)
    optimizer = _optimizer_bytes(setting.optimizer, moving) * trained
    if setting.sharding in {"zero2", "zero3"} and setting.dtype != "fp32":
        # DeepSpeed holds 16-bit weights and gradients, and keeps fp32 copies with its states.
        scale = 2 if footprint.method == "lora" else moving
        weights, gradients = weights * 2 / scale, gradients * 2 / moving
        optimizer = (4.0 + _optimizer_bytes(setting.optimizer, 4)) * trained
    return _shard(_States(weights, gradients, optimizer), setting)


def _dropped_head(shape: Shape, setting: Setting) -> int:
    """Return the weights of the vocabulary's head that a classifier does without."""
    return shape.vocab * shape.hidden if setting.loss.classifier and not shape.tied else 0


def _frozen(model: ModelFacts, footprint: Footprint, resting: int, *, own: bool) -> float:
    """Return the frozen weights below adapters, quantised or not."""
    total = model.parameters.total
    if footprint.frozen_bits == "none":
        return float(resting * total)
    linear, experts = linear_weights(model.shape), 0
    if model.shape.experts is not None:
        every, (linear, _) = linear, quantisable_weights(model.shape)
        experts = every - linear
    linear = min(linear, total)
    # PEFT's usual preparation lifts what is not quantised to fp32, but for the experts; the tutor does not.
    kept = float(resting * experts) + (resting if own else 4.0) * (total - linear - experts)
    return FROZEN_BYTES[footprint.frozen_bits] * linear + kept


def _dequantised(shape: Shape, footprint: Footprint, setting: Setting) -> float:
    """Return the 16-bit copy of one quantised layer while it is multiplied."""
    if footprint.frozen_bits == "none":
        return 0.0
    return (4.0 if setting.dtype == "fp32" else 2.0) * quantisable_weights(shape)[1]


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
        wide = setting.dtype == "fp32" or _wide_residual(footprint, setting)
        return float(footprint.reached_layers * tokens * (4 if wide else 2) * shape.hidden)
    total, below = 0.0, shape.layers - footprint.reached_layers
    frozen = shape.layers - footprint.trained_layers
    position = 0
    for count, layers in blocks(shape):
        for index in range(position, position + count):
            if index >= below:
                total += _layer_bytes(shape, layers, footprint, setting, trained=index >= frozen)
        position += count
    fused = COMPILED if setting.compiled else 1.0
    return tokens * total * fused + footprint.reached_layers * _quadratic(shape, setting)


def _wide_residual(footprint: Footprint, setting: Setting) -> bool:
    """Return whether the residual stream is fp32: it follows the embedding's dtype."""
    zero = setting.sharding in {"zero2", "zero3"}
    return footprint.method == "full" and moving_bytes(footprint, setting) == 4 and not zero


def _quadratic(shape: Shape, setting: Setting) -> float:
    """Return what one block keeps per pair of positions: eager scores, or the explicit mask."""
    pairs = setting.micro_batch * setting.length**2
    unit = 4 if setting.dtype == "fp32" else 2
    scores = 9.0 * shape.heads * pairs if setting.attention == "eager" else 0.0
    return scores + (float(unit * pairs) if setting.masked and setting.attention == "sdpa" else 0.0)


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
    ch, ck, cf = _coefficients(footprint, setting, trained=trained)
    plain = float(ch * h + ck * kv + cf * f) + _repeated(shape, setting)
    plain += _special_bytes(shape, layers) * (2 if setting.dtype == "fp32" else 1)
    if not shape.gated:
        plain -= 6 * h + 3 * f
    return plain + _adapter_bytes(layers, footprint, setting)


def _special_bytes(shape: Shape, layers: tuple[Linear, ...]) -> float:
    """Return what latent attention and experts keep beyond a Llama block; traced on DeepseekV2 blocks."""
    kept, latent = 0.0, shape.latent
    if latent is not None:
        head = latent.nope_dim + latent.rope_dim + latent.v_dim
        kept += 13.6 * shape.heads * head + 4 * latent.kv_rank - 4 * shape.hidden
    routed = next((x for x in layers if x.name == "experts.down_proj"), None)
    if routed is not None:
        kept += 2 * shape.hidden * routed.active + 8 * routed.copies
    return kept


def _coefficients(footprint: Footprint, setting: Setting, *, trained: bool) -> tuple[int, int, int]:
    """Return bytes per unit of hidden, key/value and MLP width; traced on Llama blocks."""
    if setting.dtype == "fp32":
        return (32, 8, 16) if trained else (16, 8, 12)
    if not trained:
        return 12, 4, 6
    if moving_bytes(footprint, setting) == 2 or setting.sharding in {"zero2", "zero3"}:
        return 20, 4, 8
    return (30, 4, 8) if _wide_residual(footprint, setting) else (26, 4, 8)


def _repeated(shape: Shape, setting: Setting) -> float:
    """Return the keys and values that a mask makes attention repeat for every query head."""
    if not setting.masked or setting.attention != "sdpa" or shape.latent is not None:
        return 0.0
    unit = 8 if setting.dtype == "fp32" else 4
    return float(unit * (shape.heads - shape.kv_heads) * shape.head_dim)


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
    wide = (2 if setting.dtype == "fp32" else 1) * (COMPILED if setting.compiled else 1.0)
    masked = setting.tokens * _repeated(shape, setting) + _quadratic(shape, setting)
    return float(setting.tokens * largest * wide) + masked


def _is_mlp(name: str) -> bool:
    return name.rsplit(".", 1)[-1] in {"gate_proj", "up_proj", "down_proj"}


def _widths(shape: Shape, layers: tuple[Linear, ...]) -> tuple[int, int, int]:
    """Return hidden, key/value and MLP widths as the activation formulae want them."""
    kv = shape.kv_heads * shape.head_dim
    if shape.latent is not None:
        kv = shape.heads * (shape.latent.nope_dim + shape.latent.rope_dim)
    wide = sum(x.inputs * x.active for x in layers if x.name.endswith("down_proj"))
    return shape.hidden, kv, wide


def _communication(model: ModelFacts, footprint: Footprint, setting: Setting) -> float:
    """Return buffers: autocast's copies, DDP's buckets, what sharding gathers."""
    shape, full = model.shape, footprint.method != "lora"
    linear = linear_weights(shape)
    unit = moving_bytes(footprint, setting)
    if setting.sharding == "none":
        autocast = full and unit == 4 and setting.dtype != "fp32"
        copies = 2.0 * linear * footprint.trained_layers / shape.layers if autocast else 0.0
        return copies + (float(unit * footprint.trainable) if setting.processes > 1 else 0.0)
    layer = 2.0 * linear / shape.layers * _gathered(footprint)
    share = model.parameters.total / setting.processes
    if setting.sharding == "fsdp2":
        root = 2.0 * shape.vocab * shape.hidden * (1 if shape.tied else 2)
        own = unit * linear / shape.layers if full else 0.0
        return 2 * layer + root + own
    if setting.sharding == "zero3":
        live = 0.8 * 2 * min(LIVE_PARAMETERS, model.parameters.total)
        return live + layer + (4.0 * min(LIVE_PARAMETERS, share) if full else 0.0)
    return (2.0 * BUCKET * 2 + 4.0 * min(LIVE_PARAMETERS, share)) if full else 0.0


def _gathered(footprint: Footprint) -> float:
    """Return the size of a gathered layer against its 16-bit form."""
    return 1.0 if footprint.frozen_bits == "none" else FROZEN_BYTES[footprint.frozen_bits] / 2
