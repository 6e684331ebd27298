"""Parameter counts by closed form, for models whose weights are not here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tutor_agent.core.facts import Parameters
from tutor_agent.probe.architecture import language_config

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutor_agent.core.facts import Experts, LatentAttention, Shape


@dataclass(frozen=True)
class Family:
    """What distinguishes one family's layers; None asks the configuration."""

    qkv_bias: bool | None = False
    out_bias: bool | None = False
    mlp_bias: bool | None = False
    norms: int = 2
    norm_bias: bool = False
    qk_norm: int = 0
    """1: a norm of one head's width for q and k; 2: a norm over all heads."""
    positions: bool = False
    head_bias: bool = False
    sinks: bool = False


_ALL_BIASES = {"qkv_bias": True, "out_bias": True, "mlp_bias": True, "norm_bias": True}
_FAMILIES = {
    "llama": Family(qkv_bias=None, out_bias=None, mlp_bias=None),
    "mistral": Family(),
    "mixtral": Family(),
    "smollm3": Family(qkv_bias=None, out_bias=None, mlp_bias=None),
    "phi3": Family(),
    "qwen2": Family(qkv_bias=True),
    "qwen2_moe": Family(qkv_bias=True),
    "qwen3": Family(qkv_bias=None, out_bias=None, qk_norm=1),
    "qwen3_moe": Family(qkv_bias=None, out_bias=None, qk_norm=1),
    "gemma": Family(),
    "gemma2": Family(norms=4),
    "gemma3_text": Family(norms=4, qk_norm=1),
    "glm": Family(qkv_bias=None),
    "glm4": Family(qkv_bias=None, norms=4),
    "gpt_oss": Family(qkv_bias=True, out_bias=True, sinks=True),
    "olmo2": Family(qk_norm=2),
    "olmo3": Family(qk_norm=2),
    "gpt2": Family(**_ALL_BIASES, positions=True),
    "gpt_neox": Family(**_ALL_BIASES),
    "phi": Family(**_ALL_BIASES, norms=1, head_bias=True),
    "starcoder2": Family(**_ALL_BIASES),
    "deepseek": Family(),
    "deepseek_v2": Family(),
    "deepseek_v3": Family(),
    "deepseek_v32": Family(),
    "glm_moe_dsa": Family(),
    "kimi_k2": Family(),
}


class Counted(NamedTuple):
    """A count and whether it is known to be exact."""

    parameters: Parameters
    exact: bool


def count_parameters(config: Mapping[str, Any], shape: Shape) -> Counted:
    """Count the parameters that `config` describes, part by part.

    Families that are not known are counted like Llama, which is near enough to plan with; the
    result then says that it is not exact.
    """
    text = language_config(config)
    name = str(text.get("model_type", ""))
    family = _FAMILIES.get(name, Family())
    dense_layers, sparse_layers = _layer_kinds(text, shape)
    experts = shape.experts
    attention, attention_norm = _attention(text, shape, family)
    mlp = dense_layers * _mlp(shape, shape.intermediate, _flag(text, family.mlp_bias, "mlp_bias"))
    routed = 0
    if experts:
        routed = sparse_layers * _routed(shape, experts, biased=name == "gpt_oss")
        mlp += sparse_layers * _always_on(text, shape, experts, biased=name == "gpt_oss")
    norm_width = shape.hidden * (2 if family.norm_bias else 1)
    embedding = shape.vocab * shape.hidden
    parts = {
        "embedding": embedding + (shape.max_positions * shape.hidden if family.positions else 0),
        "attention": shape.layers * attention,
        "mlp": mlp,
        "experts": routed,
        "norm": shape.layers * (family.norms * norm_width + attention_norm) + norm_width,
        "head": (0 if shape.tied else embedding) + (shape.vocab if family.head_bias else 0),
    }
    return Counted(with_active(parts, experts, embedding), name in _FAMILIES)


def with_active(parts: dict[str, int], experts: Experts | None, embedding: int) -> Parameters:
    """Add up parts; of the routed experts only the chosen ones are active."""
    total = sum(parts.values())
    idle = parts.get("experts", 0)
    if experts:
        idle = idle * (experts.routed - experts.active) // experts.routed
    kept = {name: count for name, count in parts.items() if count}
    return Parameters(
        total=total, active=total - (idle if experts else 0), embedding=embedding, parts=kept
    )


def _layer_kinds(config: Mapping[str, Any], shape: Shape) -> tuple[int, int]:
    """Return how many layers have a dense MLP and how many have experts."""
    if shape.experts is None:
        return shape.layers, 0
    step = config.get("decoder_sparse_step") or config.get("moe_layer_freq") or 1
    only_dense = {int(i) for i in config.get("mlp_only_layers") or ()}
    first = shape.experts.first_dense_layers
    sparse = sum(
        1
        for layer in range(first, shape.layers)
        if layer not in only_dense and (not isinstance(step, int) or (layer + 1) % step == 0)
    )
    return shape.layers - sparse, sparse


def _attention(config: Mapping[str, Any], shape: Shape, family: Family) -> tuple[int, int]:
    """Return the weights of one attention block, and those of the norms inside it."""
    if shape.latent:
        return _latent_attention(config, shape, shape.latent)
    q, kv = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    count = shape.hidden * (q + 2 * kv) + q * shape.hidden
    if _flag(config, family.qkv_bias, "attention_bias"):
        count += q + 2 * kv
    if _flag(config, family.out_bias, "attention_bias"):
        count += shape.hidden
    if family.sinks:
        count += shape.heads
    norms = {0: 0, 1: 2 * shape.head_dim, 2: q + kv}[family.qk_norm]
    return count, norms


def _latent_attention(
    config: Mapping[str, Any], shape: Shape, latent: LatentAttention
) -> tuple[int, int]:
    h, heads, rank = shape.hidden, shape.heads, latent.q_rank
    q = heads * (latent.nope_dim + latent.rope_dim)
    count = h * rank + rank * q if rank else h * q
    count += h * (latent.kv_rank + latent.rope_dim)
    count += latent.kv_rank * heads * (latent.nope_dim + latent.v_dim) + heads * latent.v_dim * h
    norms = latent.kv_rank + (rank or 0)
    if index_heads := int(config.get("index_n_heads") or 0):
        # The indexer that chooses which tokens DeepSeek V3.2 attends to.
        width = int(config.get("index_head_dim") or 128)
        count += (rank or h) * index_heads * width + h * width + h * index_heads
        norms += 2 * width
    return count, norms


def _mlp(shape: Shape, width: int, biased: bool) -> int:
    if shape.gated:
        return 3 * shape.hidden * width + (2 * width + shape.hidden if biased else 0)
    return 2 * shape.hidden * width + (width + shape.hidden if biased else 0)


def _routed(shape: Shape, experts: Experts, *, biased: bool) -> int:
    return experts.routed * _mlp(shape, experts.intermediate, biased)


def _always_on(config: Mapping[str, Any], shape: Shape, experts: Experts, *, biased: bool) -> int:
    """Return router and shared experts of one layer."""
    router = experts.routed * (shape.hidden + (1 if biased else 0))
    width = config.get("shared_expert_intermediate_size")
    if width:
        return router + _mlp(shape, int(width), False) + shape.hidden
    return router + _mlp(shape, experts.shared * experts.intermediate, False)


def _flag(config: Mapping[str, Any], known: bool | None, key: str) -> bool:
    return bool(config.get(key, False)) if known is None else known
