"""From a `config.json` to architecture numbers, over the spellings that model families use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.facts import Experts, LatentAttention, Shape

if TYPE_CHECKING:
    from collections.abc import Mapping

_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_HIDDEN = ("hidden_size", "n_embd", "d_model", "dim")
_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads")
_KV_HEADS = ("num_key_value_heads", "multi_query_group_num", "num_kv_heads", "n_head_kv")
_WIDTH = ("intermediate_size", "ffn_hidden_size", "n_inner", "ffn_dim", "ffn_hidden_dim")
_VOCAB = ("vocab_size", "padded_vocab_size")
_POSITIONS = ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len")
_ROUTED = ("n_routed_experts", "num_experts", "num_local_experts")
_ACTIVE = ("num_experts_per_tok", "experts_per_token", "num_experts_per_token", "top_k_experts")
_EXPERT_WIDTH = ("moe_intermediate_size", "expert_intermediate_size")

_TIED_BY_DEFAULT = {
    *("gemma", "gemma2", "gemma3", "gemma3_text", "gemma4", "gemma4_text", "gpt2", "bloom"),
    *("falcon", "starcoder2", "gpt_bigcode", "opt", "cohere", "cohere2"),
}
_NOT_GATED = {
    *("gpt2", "gpt_neox", "gpt_neo", "gptj", "phi", "falcon", "bloom", "opt", "starcoder2"),
    *("gpt_bigcode", "mpt", "nemotron"),
}


def language_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part that describes the language model, without a vision tower around it."""
    for key in ("text_config", "llm_config", "language_config"):
        if isinstance(inner := config.get(key), dict):
            outer = {k: v for k, v in config.items() if k in {"tie_word_embeddings"}}
            return {**outer, **cast("dict[str, Any]", inner)}
    return dict(config)


def read_shape(config: Mapping[str, Any], where: str) -> Shape:
    """Return the architecture numbers of `config`.

    Raises:
        UnreadableError: A number without which nothing can be said is missing.
    """
    text = language_config(config)
    hidden, heads = _need(text, _HIDDEN, where), _need(text, _HEADS, where)
    experts = _experts(text)
    width = _number(text, _WIDTH) or (experts.intermediate if experts else 4 * hidden)
    latent = _latent(text)
    head_dim = text.get("head_dim") or hidden // heads
    if latent:
        head_dim = latent.nope_dim + latent.rope_dim
    return Shape(
        layers=_need(text, _LAYERS, where),
        hidden=hidden,
        heads=heads,
        kv_heads=_kv_heads(text, heads),
        head_dim=int(head_dim),
        intermediate=width,
        vocab=_need(text, _VOCAB, where),
        tied=is_tied(text),
        gated=str(text.get("model_type")) not in _NOT_GATED,
        max_positions=_number(text, _POSITIONS) or 0,
        experts=experts,
        latent=latent,
    )


def is_tied(config: Mapping[str, Any]) -> bool:
    """Return whether embedding and head are one matrix by configuration."""
    stated = config.get("tie_word_embeddings")
    return config.get("model_type") in _TIED_BY_DEFAULT if stated is None else bool(stated)


def _kv_heads(config: Mapping[str, Any], heads: int) -> int:
    if config.get("multi_query") and not config.get("new_decoder_architecture"):
        return 1
    return _number(config, _KV_HEADS) or heads


def _experts(config: Mapping[str, Any]) -> Experts | None:
    routed = _number(config, _ROUTED)
    if not routed or routed < 2:
        return None
    width = _number(config, _EXPERT_WIDTH) or _number(config, _WIDTH) or 0
    shared = _number(config, ("n_shared_experts", "num_shared_experts")) or 0
    if shared_width := _number(config, ("shared_expert_intermediate_size",)):
        shared = max(1, round(shared_width / max(1, width)))
    return Experts(
        routed=routed,
        active=_number(config, _ACTIVE) or 1,
        shared=shared,
        intermediate=width,
        first_dense_layers=_number(config, ("first_k_dense_replace",)) or 0,
    )


def _latent(config: Mapping[str, Any]) -> LatentAttention | None:
    rank = _number(config, ("kv_lora_rank",))
    if not rank:
        return None
    return LatentAttention(
        q_rank=_number(config, ("q_lora_rank",)),
        kv_rank=rank,
        nope_dim=_number(config, ("qk_nope_head_dim",)) or 0,
        rope_dim=_number(config, ("qk_rope_head_dim",)) or 0,
        v_dim=_number(config, ("v_head_dim",)) or 0,
    )


def _number(config: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = config.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return int(value)
    return None


def _need(config: Mapping[str, Any], names: tuple[str, ...], where: str) -> int:
    value = _number(config, names)
    if value is None or value < 1:
        raise UnreadableError(
            f"{where} does not say {names[0]!r}, so the model's size is unknown. "
            "Use the config.json that belongs to a causal language model.",
            f"{where} 中没有 {names[0]!r}，无法得知模型规模。请使用因果语言模型自带的 config.json。",
        )
    return value
