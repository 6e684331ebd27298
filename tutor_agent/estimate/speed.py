"""How fast it trains: work per token over the speed of the device."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tutor_agent.core.facts import Accelerator, Machine, ModelFacts
    from tutor_agent.estimate.footprint import Footprint
    from tutor_agent.estimate.memory import Setting

# Share of the dense 16-bit peak that training reaches, by card; measured rows give 0.47 for H100
# to 0.90 for H20, whose peak is capped by power. Cards without a row stand at a cautious 0.40.
_UTILISATION = (
    (re.compile(r"\bH20\b", re.IGNORECASE), 0.90),
    (re.compile(r"A100|A800", re.IGNORECASE), 0.62),
    (re.compile(r"H100|H800|H200", re.IGNORECASE), 0.47),
    (re.compile(r"RTX|GeForce|L40|A10\b|A10G|A40|A6000", re.IGNORECASE), 0.65),
)
_OTHER_CARD = 0.40
UNKNOWN_TFLOPS = 40.0
_GPU_WARM_TOKENS = 1000
_CPU_WARM_TOKENS = 150
# Measured on SmolLM2-135M in fp32, a thread on a server core with AVX-512: 58 to 75 GFLOP/s for all
# weights; adapters' thin products reach less, plain frozen layers a little more.
CPU_FLOPS_PER_CORE = 62e9
_CPU_METHOD = {"full": 1.0, "lora": 0.82, "freezing": 1.25}
_CPU_SCALING = 0.9
_SHARDED = 0.9
_DATA_PARALLEL = {"nvlink": 0.97, "hccs": 0.95}
_DATA_PARALLEL_OTHER = 0.9
_EXPERTS = 0.3
_FP32_ON_GPU = 1 / 8
# torchtune, Llama-3.2-3B on an A100: 7075 tokens a second without, 8998 with. LoRA against QLoRA there
# 8210 and 8035 (compiled), on an RTX 4090 3083 and 2413. int8 has no row: a cautious figure.
_COMPILED = 1.25
_QUANTISED = {"none": 1.0, "nf4": 0.85, "nf4-double": 0.85, "int8": 0.6}


class Speed(NamedTuple):
    """Speed over all devices, in processed tokens (padding included)."""

    training: float
    """Tokens per second while training."""
    evaluation: float
    """Tokens per second while evaluating."""
    slowest: float
    """Factor that gives the low end."""
    fastest: float
    """Factor that gives the high end."""


def forward_flops(model: ModelFacts, length: float) -> float:
    """Return the floating-point operations of a forward pass, per token."""
    used = model.parameters.active - (0 if model.shape.tied else model.parameters.embedding)
    return 2.0 * used + _attention_flops(model, length)


def training_flops(
    model: ModelFacts, footprint: Footprint, length: float, *, checkpointing: bool
) -> float:
    """Return the floating-point operations of forward and backward, per token."""
    shape = model.shape
    forward, attend = forward_flops(model, length), _attention_flops(model, length)
    head = 2.0 * shape.vocab * shape.hidden
    body = max(forward - attend - head, 0.0)
    reach = footprint.reached_layers / shape.layers
    inputs = head + reach * (body + 2 * attend)
    weights = body * footprint.trained_layers / shape.layers
    weights += head if footprint.method == "full" else 0.0
    recomputed = forward * reach if checkpointing else 0.0
    return forward + inputs + weights + recomputed


def device_flops(machine: Machine, setting: Setting) -> float:
    """Return the floating-point operations per second that training reaches on all devices."""
    if not machine.accelerators:
        warm = setting.tokens / (setting.tokens + _CPU_WARM_TOKENS)
        return CPU_FLOPS_PER_CORE * max(1, machine.cores) ** _CPU_SCALING * warm
    used = machine.accelerators[: max(1, setting.processes)]
    slowest = min(used, key=_reached)
    warm = setting.tokens / (setting.tokens + _GPU_WARM_TOKENS)
    precision = _FP32_ON_GPU if setting.dtype == "fp32" else 1.0
    return _reached(slowest) * warm * precision * setting.processes * _parallel(machine, setting)


def speed(
    model: ModelFacts, footprint: Footprint, machine: Machine, setting: Setting, length: float
) -> Speed:
    """Return how many tokens of samples of `length` pass in a second."""
    flops = device_flops(machine, setting)
    if model.shape.experts is not None:
        flops *= _EXPERTS
    flops *= _QUANTISED[footprint.frozen_bits]
    if not machine.accelerators:
        flops *= _CPU_METHOD[footprint.method]
    elif setting.compiled:
        flops *= _COMPILED
    work = training_flops(model, footprint, length, checkpointing=setting.checkpointing)
    slowest, fastest = _spread(model, machine)
    return Speed(flops / work, flops / forward_flops(model, length), slowest, fastest)


def _spread(model: ModelFacts, machine: Machine) -> tuple[float, float]:
    if not machine.accelerators:
        return 0.4, 1.5
    known = all(card.tflops for card in machine.accelerators)
    if model.shape.experts is not None or not known:
        return 0.35, 2.5
    return 0.7, 1.4


def _reached(card: Accelerator) -> float:
    share = next((s for pattern, s in _UTILISATION if pattern.search(card.name)), _OTHER_CARD)
    return (card.tflops or UNKNOWN_TFLOPS) * 1e12 * share


def _parallel(machine: Machine, setting: Setting) -> float:
    if setting.processes == 1:
        return 1.0
    if setting.sharding != "none":
        return _SHARDED
    return _DATA_PARALLEL.get(machine.link, _DATA_PARALLEL_OTHER)


def _attention_flops(model: ModelFacts, length: float) -> float:
    shape, latent = model.shape, model.shape.latent
    width = float(shape.head_dim)
    if latent is not None:
        width = (latent.nope_dim + latent.rope_dim + latent.v_dim) / 2
    return 2.0 * shape.layers * shape.heads * width * length
