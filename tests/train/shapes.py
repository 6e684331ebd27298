"""Tiny random models of every architecture that the product promises to train."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import torch
import transformers

from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

_DENSE: dict[str, Any] = {"num_key_value_heads": 2}
_INDEXER: dict[str, Any] = {"index_n_heads": 2, "index_head_dim": 16, "index_topk": 8}
_OWN: dict[str, dict[str, Any]] = {
    **tiny.KINDS,
    "qwen2": {**_DENSE, "tie_word_embeddings": False},
    "qwen3": {**_DENSE, "head_dim": 8, "tie_word_embeddings": True},
    "deepseek_v4": {
        "num_key_value_heads": 1,
        "head_dim": 16,
        "q_lora_rank": 16,
        "o_groups": 2,
        "o_lora_rank": 8,
        "moe_intermediate_size": 16,
        "n_routed_experts": 4,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
        "layer_types": [
            "heavily_compressed_attention",
            "compressed_sparse_attention",
            "compressed_sparse_attention",
        ],
        "mlp_layer_types": ["hash_moe", "moe", "moe"],
        "sliding_window": 16,
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        **_INDEXER,
    },
    "deepseek_v32": {**tiny.LATENT, "q_lora_rank": 16, **_INDEXER},
    # DeepSeek V2 Lite does not compress its queries, so it has a q_proj.
    "deepseek_v2_lite": {**tiny.LATENT, "q_lora_rank": None, "topk_method": "greedy"},
}
KINDS = tuple(_OWN)


def save(folder: Path, kind: str) -> Path:
    """Write a tiny model of `kind` with its tokenizer."""
    torch.manual_seed(0)
    tokens = tiny.tokenizer()
    config = transformers.AutoConfig.for_model(
        kind.removesuffix("_lite"),
        vocab_size=len(tokens),
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        **{**tiny.BASE, **_OWN[kind]},
    )
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def without_gradient(kind: str, name: str) -> bool:
    """Return whether the language-model loss does not reach a weight: it only picks what is attended to."""
    return kind in {"deepseek_v32", "deepseek_v4"} and bool(re.search(r"\.indexer\.", name))


MIXES_PACKED = ("deepseek_v32", "deepseek_v4")
"""Architectures whose attention looks past the borders of packed samples; packing is refused for them."""
