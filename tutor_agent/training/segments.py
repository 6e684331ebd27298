"""Samples joined into one row, each of them attended to by itself: no padding, and no mask to work through.

On a CPU the usual kernel reads a mask and computes what the mask then hides. Cutting the joined row at the
borders of its samples and attending to each piece costs what the samples cost.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.plan import Plan

NAME = "tutor_segments"
_CUTTING: ContextVar[bool] = ContextVar("cutting", default=False)
_PROBE = (7, 5, 9)
"""Lengths of the samples on which a model is tried."""
_TOLERANCE = {torch.float32: 1e-3}
_LOOSE = 5e-2
_HALF = (torch.bfloat16, torch.float16)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each of `segments` (lengths of the samples in the one row).

    Without them this is transformers' own `sdpa`, which reads the mask.

    Args:
        module: The attention layer.
        query: (1, heads, places, width); `key` and `value` may have fewer heads.
        key: See `query`.
        value: See `query`.
        attention_mask: What may be seen, or None.
        options: `segments`, `scaling`, `dropout`, and what else transformers passes.
    """
    segments: list[int] | None = options.pop("segments", None)
    if segments is None or options.get("position_bias") is not None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)
    parts = zip(*(states.split(segments, dim=2) for states in (query, key, value)), strict=True)
    found = [
        torch.nn.functional.scaled_dot_product_attention(
            q,
            k,
            v,
            dropout_p=options.get("dropout", 0.0),
            is_causal=True,
            scale=options.get("scaling"),
            enable_gqa=q.shape[1] != k.shape[1],
        ).transpose(1, 2)
        for q, k, v in parts
    ]
    return torch.cat(found, dim=1), None


def join_rows(model: Any, plan: Plan) -> bool:
    """Let `model` read joined rows piece by piece if that pays and provably works; return whether it does."""
    if plan.model.attention != "sdpa" or plan.model.compile or plan.launch.sharding != "none":
        return False
    if torch.cuda.is_available() or plan.model.head != "language_model" or not _sees_all(model):
        return False
    register()
    body = model.get_base_model() if hasattr(model, "get_base_model") else model
    before = body.config._attn_implementation
    body.set_attn_implementation(NAME)
    if not keeps_apart(body):
        body.set_attn_implementation(before)
        return False
    return True


def cuts_rows(model: Any) -> bool:
    """Return whether `model`, without wrappers, attends to each sample of a joined row by itself."""
    return getattr(model.config, "_attn_implementation", None) == NAME


@contextmanager
def without_mask() -> Iterator[None]:
    """Make no mask: that of a long joined row, which nobody reads, takes a byte for every pair of places."""
    token = _CUTTING.set(True)
    try:
        yield
    finally:
        _CUTTING.reset(token)


def register() -> None:
    """Make the attention and its mask known to transformers."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, _mask)


def _mask(*args: Any, **options: Any) -> torch.Tensor | None:
    return None if _CUTTING.get() else sdpa_mask(*args, **options)


def keeps_apart(body: Any) -> bool:
    """Return whether `body` predicts the same for joined samples as for each alone."""
    vocabulary, device = body.config.get_text_config().vocab_size, next(body.parameters()).device
    drawn = torch.Generator().manual_seed(0)
    samples = [torch.randint(vocabulary, (1, size), generator=drawn).to(device) for size in _PROBE]
    positions = torch.cat([torch.arange(size) for size in _PROBE])[None].to(device)
    was_training = body.training
    body.eval()
    # Layers that train are fp32 beside frozen ones in 16 bits, as autocast has it while training.
    half = next((p.dtype for p in body.parameters() if p.dtype in _HALF), None)
    with torch.no_grad(), torch.autocast(device.type, half, enabled=half is not None):
        alone = torch.cat([body(input_ids=ids, use_cache=False).logits for ids in samples], dim=1)
        row = {"input_ids": torch.cat(samples, dim=1), "position_ids": positions}
        with without_mask():
            joined = body(**row, use_cache=False, segments=list(_PROBE)).logits
    body.train(was_training)
    allowed = _TOLERANCE.get(alone.dtype, _LOOSE) * float(alone.abs().max())
    return float((alone - joined).abs().max()) <= allowed


def looks_across(model: torch.nn.Module) -> bool:
    """Return whether a part of `model` chooses among all tokens of a row, whatever the borders in it.

    The indexer and the compressor of DeepSeek V3.2 and V4 do, and transformers shows them no border between
    samples (measured: losses differ by up to a per cent).
    """
    pieces = {piece for name, _ in model.named_modules() for piece in name.split(".")}
    return bool(pieces & {"indexer", "compressor"})


def _sees_all(model: Any) -> bool:
    """Return whether every layer sees the whole sample through transformers' own attention."""
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    body = model.get_base_model() if hasattr(model, "get_base_model") else model
    backend = bool(getattr(body, "_supports_attention_backend", False))
    plain = kinds == {"full_attention"} and not getattr(config, "sliding_window", None)
    return backend and plain and not looks_across(body)
