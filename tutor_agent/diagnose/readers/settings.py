"""Settings, package versions and the phase, as far as a log tells them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic import JsonValue

_FLAG = re.compile(r"(?<!\S)--(?P<key>[A-Za-z][\w.-]*)(?:[ =](?P<value>[^\s\\-][^\s\\]*))?")
_DUMPED = re.compile(
    r"""^\W*(?P<key>fp16|bf16|(?:fp16|bf16|bfloat16)_enabled|learning_rate|max_grad_norm|lr_scheduler(?:_type)?|optim(?:izer)?|"""
    r"""gradient_accumulation_steps|gradient_checkpointing|num_(?:train_)?epochs|lora_(?:r|rank|alpha)|attn_implementation)"""
    r"""["']?\s*(?:[:=]|\.{3,})\s*["']?(?P<value>[\w.+-]+)["']?,?\s*$""",
    re.MULTILINE,
)
_LOGGED = re.compile(
    r"^\[[^\]]*\](?: ?\[[^\]]*\])*:?\s*|^\d{4}-\d\d-\d\d[T ][\d:.,]+\s*(?:[-|]\s*)?(?:INFO\s*[-|]?\s*)?"
)
_LONGEST_SETTING = 200
_PACKAGES = (
    "transformers|torch|peft|accelerate|trl|datasets|deepspeed|bitsandbytes|flash[-_]attn|"
    "llamafactory|unsloth|tokenizers|safetensors|numpy|vllm"
)
_VERSION = re.compile(
    rf"\b(?P<package>{_PACKAGES})(?:\s*(?:==|version:?|:|=)\s*|[ -]v?)(?P<version>\d+\.\d+[\w.+]*)",
    re.IGNORECASE,
)
_PHASES: tuple[tuple[str, re.Pattern[str]], ...] = (
    (
        "save",
        re.compile(
            r"_save_checkpoint|save_model|save_pretrained|Saving model checkpoint|state_dict\(|torch\.save|"
            r"serialize_file|save_file|saving checkpoint|保存(?:模型|检查点|权重)",
            re.IGNORECASE,
        ),
    ),
    (
        "evaluate",
        re.compile(
            r"evaluation_loop|prediction_step|preds_host|nested_concat|Running Evaluation|"
            r"trainer\.evaluate|\bin evaluate\b|compute_metrics|all_preds",
            re.IGNORECASE,
        ),
    ),
    (
        "train",
        re.compile(
            r"training_step|\.backward\(|optimizer\.step|inner_training_loop|Running training"
        ),
    ),
    (
        "load",
        re.compile(
            r"from_pretrained|Loading checkpoint shards|load_state_dict|load_model", re.IGNORECASE
        ),
    ),
)


def flags_in(lines: Iterable[str]) -> dict[str, JsonValue]:
    """Return `--key value` flags of a command line, and the usual settings that a tool lists one a line."""
    found: dict[str, JsonValue] = {}
    for line in lines:
        dumped = _DUMPED.match(_LOGGED.sub("", line)) if len(line) < _LONGEST_SETTING else None
        if dumped:
            found[dumped["key"].removesuffix("_enabled")] = dumped["value"]
        if "--" in line:
            for match in _FLAG.finditer(line):
                found[match["key"].replace("-", "_")] = match["value"] or True
    return found


def versions_in(lines: Iterable[str]) -> dict[str, str]:
    """Return package versions that the text names."""
    found: dict[str, str] = {}
    for line in lines:
        for match in _VERSION.finditer(line):
            found.setdefault(match["package"].lower().replace("-", "_"), match["version"])
    return found


def phase_of(lines: tuple[str, ...]) -> str:
    """Return what the end of the log was doing; the last telling line decides."""
    for line in reversed(lines[-200:]):
        for name, pattern in _PHASES:
            if pattern.search(line):
                return name
    return ""


def flatten(config: Mapping[str, Any], prefix: str = "") -> dict[str, JsonValue]:
    """Return nested settings under dotted keys."""
    flat: dict[str, JsonValue] = {}
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and value:
            flat |= flatten(cast("dict[str, Any]", value), f"{path}.")
        else:
            flat[path] = value
    return flat
