"""Model folders made by hand: real headers, zeros for weights."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_BYTES = {"F32": 4, "BF16": 2, "F16": 2, "F8_E4M3": 1, "U8": 1, "I8": 1, "I32": 4, "I64": 8}

LLAMA: dict[str, Any] = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 64,
    "max_position_embeddings": 128,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def llama_tensors(dtype: str = "BF16", *, layers: int = 2, head: bool = True) -> dict[str, Any]:
    """Return name, type and shape of every weight of `LLAMA`."""
    h, f, kv, vocab = 16, 32, 8, 64
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, h)}
    for i in range(layers):
        layer = f"model.layers.{i}"
        shapes |= {f"{layer}.self_attn.{n}_proj.weight": (h, h) for n in "qo"}
        shapes |= {f"{layer}.self_attn.{n}_proj.weight": (kv, h) for n in "kv"}
        shapes |= {f"{layer}.mlp.{n}_proj.weight": (f, h) for n in ("gate", "up")}
        shapes |= {f"{layer}.mlp.down_proj.weight": (h, f), f"{layer}.input_layernorm.weight": (h,)}
        shapes[f"{layer}.post_attention_layernorm.weight"] = (h,)
    shapes["model.norm.weight"] = (h,)
    if head:
        shapes["lm_head.weight"] = (vocab, h)
    return {name: (dtype, shape) for name, shape in shapes.items()}


def write_tensors(path: Path, tensors: Mapping[str, tuple[str, tuple[int, ...]]]) -> None:
    """Write a safetensors file of zeros."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (dtype, shape) in tensors.items():
        size = math.prod(shape) * _BYTES[dtype]
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    words = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(words)) + words + b"\0" * at)


def write_model(
    folder: Path,
    config: Mapping[str, Any] = LLAMA,
    tensors: Mapping[str, tuple[str, tuple[int, ...]]] | None = None,
    **files: object,
) -> Path:
    """Write a model folder; further files are named with `__` for the dot."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    if tensors is not None:
        write_tensors(folder / "model.safetensors", tensors)
    for name, content in files.items():
        words = content if isinstance(content, str) else json.dumps(content)
        (folder / name.replace("__", ".")).write_text(words, encoding="utf-8")
    return folder
