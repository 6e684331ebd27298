"""What the headers of safetensors files say: every tensor's name, type and shape, not its values."""

from __future__ import annotations

import json
import math
import re
import struct
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tutor_agent.core.errors import UnreadableError
from tutor_agent.probe.counting import with_active

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tutor_agent.core.facts import Parameters, Shape

INDEX = "model.safetensors.index.json"
_MAX_HEADER = 256 * 2**20
_DTYPES = {
    "BF16": "bf16",
    "F16": "fp16",
    "F32": "fp32",
    "F64": "fp64",
    "F8_E4M3": "fp8",
    "F8_E5M2": "fp8",
}
_COMPANION = re.compile(
    r"(\.weight_scale(_inv|_2)?|\.input_scale|\.output_scale|\.scales|\.qzeros|\.g_idx|\.SCB|_scales"
    r"|\.weight_format|\.absmax|\.quant_map|\.nested_absmax|\.nested_quant_map|\.[kv]_scale"
    r"|\.weight_shape|\.weight_zero_point|\.weight_g_idx|\.weight_global_scale)$|\.quant_state\."
)
_BUFFER = re.compile(
    r"(rotary_emb\.\w+|masked_bias|position_ids|e_score_correction_bias|\.attn\.bias|attention\.bias)$"
)
_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)\.(\d+)\.")
_PARTS = (
    ("vision", re.compile(r"vision|visual|multi_modal|image")),
    (
        "embedding",
        re.compile(r"embed_tokens|\bwte\b|\bwpe\b|embed_in|word_embeddings|tok_embeddings"),
    ),
    ("head", re.compile(r"lm_head|embed_out|^output\.|output_layer")),
    ("experts", re.compile(r"(?<!shared_)experts\.")),
    ("norm", re.compile(r"norm|\bln_|layernorm")),
    ("attention", re.compile(r"attn|attention|query_key_value|[qkvo]_proj|indexer")),
    ("mlp", re.compile(r"mlp|feed_forward|ffn|block_sparse_moe|shared_expert|\bgate\b|dense_")),
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a header."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class Weights(NamedTuple):
    """What is in a folder."""

    tensors: tuple[Tensor, ...]
    missing: tuple[str, ...]
    """Shards that the index names and the folder lacks."""


class Count(NamedTuple):
    """What the tensors add up to."""

    parameters: Parameters
    dtype: str
    tied: bool
    beyond: int
    """Parameters of layers that the model class does not build (multi-token prediction)."""


def read_weights(folder: Path) -> Weights:
    """Read every header in `folder`; without safetensors the result is empty.

    Raises:
        UnreadableError: The index or a header is damaged.
    """
    names = sorted(path.name for path in folder.glob("*.safetensors"))
    wanted = _indexed(folder / INDEX) or [n for n in names if not n.startswith("consolidated")]
    wanted = [name for name in wanted or names if not name.startswith("adapter_")]
    missing = [name for name in wanted if not (folder / name).is_file()]
    tensors = [t for name in wanted if name not in missing for t in read_header(folder / name)]
    return Weights(tuple(tensors), tuple(missing))


def read_header(path: Path) -> list[Tensor]:
    """Read the header of one safetensors file.

    Raises:
        UnreadableError: It is cut, or not a safetensors file.
    """
    try:
        with path.open("rb") as stream:
            (size,) = struct.unpack("<Q", stream.read(8))
            if size > _MAX_HEADER:
                raise _damaged(path, f"a header of {size} bytes")
            header: dict[str, Any] = json.loads(stream.read(size))
        entries = {name: entry for name, entry in header.items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in entries.values()), default=0)
        if path.stat().st_size < 8 + size + end:
            raise _damaged(path, f"{path.stat().st_size} bytes instead of {8 + size + end}")
        return [
            Tensor(name, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]))
            for name, entry in entries.items()
        ]
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path, str(error)) from None


def count_tensors(tensors: Iterable[Tensor], shape: Shape, bits: int | None = None) -> Count:
    """Add up the parameters behind `tensors`; packed ones count with what they stand for."""
    listed = [t for t in tensors if not _COMPANION.search(t.name) and not _BUFFER.search(t.name)]
    names = {tensor.name for tensor in tensors}
    parts: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    embedding = beyond = 0
    heads = [t for t in listed if part_of(t.name) == "head"]
    for tensor in listed:
        part, size = part_of(tensor.name), _logical_size(tensor, names, bits)
        layer = _LAYER.search(tensor.name)
        if part != "vision" and layer and int(layer[1]) >= shape.layers:
            beyond += size
            continue
        if part == "head" and shape.tied:
            continue
        if part == "embedding" and "wpe" not in tensor.name:
            embedding += size
        parts[part] += size
        dtypes[_DTYPES.get(tensor.dtype, tensor.dtype.lower())] += size
    dtype = dtypes.most_common(1)[0][0] if dtypes else "bf16"
    counted = with_active(dict(parts), shape.experts, embedding)
    return Count(counted, dtype, shape.tied or not heads, beyond)


def quantization_of(config: Mapping[str, Any], tensors: Iterable[Tensor] = ()) -> str | None:
    """Return fp8, nvfp4, mxfp4, gptq, awq, bnb-4bit, bnb-8bit …, or None for plain weights."""
    stated = config.get("quantization_config") or config.get("compression_config")
    if isinstance(stated, dict):
        return _stated(cast("dict[str, Any]", stated))
    for tensor in tensors:
        if tensor.dtype.startswith("F8_"):
            return "fp8"
        if tensor.name.endswith(".qweight"):
            return "gptq"
        if ".quant_state." in tensor.name:
            return "bnb-4bit"
    return None


def bits_of(config: Mapping[str, Any]) -> int | None:
    """Return how many bits a packed weight has, when the configuration says so."""
    stated = config.get("quantization_config")
    bits = cast("dict[str, Any]", stated).get("bits") if isinstance(stated, dict) else None
    return int(bits) if isinstance(bits, int) else None


def part_of(name: str) -> str:
    """Return the part of the model that a tensor belongs to."""
    return next((part for part, pattern in _PARTS if pattern.search(name)), "other")


def _stated(config: dict[str, Any]) -> str:
    method = str(config.get("quant_method") or config.get("quant_algo") or "unknown").lower()
    if method == "bitsandbytes":
        return "bnb-8bit" if config.get("load_in_8bit") else "bnb-4bit"
    described = json.dumps(config).lower()
    if method in {"compressed-tensors", "modelopt"}:
        if "nvfp4" in described:
            return "nvfp4"
        return "fp8" if "float-quantized" in described or '"fp8"' in described else "int4"
    return method


def _logical_size(tensor: Tensor, names: set[str], bits: int | None) -> int:
    size = math.prod(tensor.shape)
    stem = tensor.name.removesuffix(".weight")
    if tensor.name.endswith((".qweight", ".weight_packed")) and tensor.dtype == "I32":
        return size * 32 // (bits or 4)
    if tensor.dtype == "U8":
        halves = (f"{tensor.name}.absmax", f"{stem}.weight_scale", f"{stem}.weight_scale_2")
        if tensor.name.endswith("_blocks") or any(name in names for name in halves):
            return size * 2
    return size


def _indexed(path: Path) -> list[str]:
    if not path.is_file():
        return []
    try:
        return sorted(set(json.loads(path.read_text(encoding="utf-8"))["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise _damaged(path, str(error)) from None


def _damaged(path: Path, what: str) -> UnreadableError:
    return UnreadableError(
        f"{path} is damaged ({what}). Download it again.", f"{path} 已损坏（{what}）。请重新下载。"
    )
