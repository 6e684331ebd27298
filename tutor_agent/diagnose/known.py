"""Figures that are not curves: settings, the audit, and what is usual, as one-point series for conditions."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

from tutor_agent.diagnose.series import Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.diagnose.observations import Observations

USUAL_LEARNING_RATE = {"lora": 2e-4, "full-fine-tuning": 2e-5, "layer-freezing": 5e-5}
"""Peak learning rates that most recipes agree on, by method."""

METHOD_TITLES = {
    "lora": "LoRA",
    "full-fine-tuning": "full fine-tuning",
    "layer-freezing": "layer freezing",
    "": "fine-tuning",
}

_SETTINGS: dict[str, tuple[str, ...]] = {
    "set_lr": ("learning_rate", "lr", "peak_lr", "max_lr", "learning rate"),
    "set_epochs": ("epochs", "num_train_epochs", "num_epochs", "epoch"),
    "set_batch": ("micro_batch", "per_device_train_batch_size", "batch_size", "batch", "train_batch_size"),
    "set_accumulate": ("accumulate", "gradient_accumulation_steps", "grad_accum", "accumulation"),
    "set_clip": ("max_grad_norm", "clip", "gradient_clipping", "clip_grad", "grad_clip"),
    "set_rank": ("r", "lora_r", "lora_rank", "rank"),
    "set_rows": ("rows", "samples", "data", "dataset_size", "train_samples", "examples"),
    "set_vocab": ("vocab", "vocab_size", "vocabulary"),
    "set_processes": ("processes", "nproc_per_node", "num_processes", "world_size", "n_gpu"),
}  # fmt: skip
_NOT = r"(?!:? ?(?:not|false|none|null|no|unset|missing)\b)"
_DTYPES = {
    "bf16": re.compile(rf"\bbf16\b{_NOT}|bfloat16"),
    "fp16": re.compile(rf"\bfp16\b{_NOT}|(?<!b)float16|\bhalf\b"),
    "fp32": re.compile(rf"\bfp32\b{_NOT}|float32"),
}
_LATE_EPOCH, _CALM_RATE = 0.9, 1e-5
_SAID_EPOCHS = re.compile(r"(?<![\d.])(\d+)\+?\s*(?:个|more)?\s*(?:epochs?\b|轮)", re.IGNORECASE)
_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?(?:[eE][-+]?\d+)?(?P<unit>k|w|万|千|M)?(?![\w.]\d)")
_UNITS = {"k": 1e3, "千": 1e3, "w": 1e4, "万": 1e4, "M": 1e6}


def figures(seen: Observations) -> dict[str, Series]:
    """Return the metric series of `seen` together with every other figure that is known."""
    known = dict(seen.series)
    for name, aliases in _SETTINGS.items():
        value = _setting(seen, aliases)
        if value is not None:
            known[name] = Series.of([value])
    for name, flag in _FLAGS.items():
        known[name] = Series.of([1.0 if flag(seen) else 0.0])
    known |= {name: Series.of([v]) for name, v in _audit(seen).items()}
    known |= {name: Series.of([v]) for name, v in _learning_rate(seen, known).items()}
    known |= {name: Series.of([v]) for name, v in _halt(seen).items()}
    known |= {name: Series.of([v]) for name, v in _batch(known).items()}
    known["passes"] = Series.of([_passes(known, seen.symptom)])
    known["steps_done"] = Series.of([_steps_done(known)])
    return known


def method_of(seen: Observations) -> str:
    """Return the training method: the plan's skill, or what settings and log suggest."""
    if seen.plan is not None:
        return seen.plan.skill
    words = f"{seen.settings}\n{seen.symptom}\n{seen.text[:20000]}".lower()
    if re.search(r"method:\s*full|full[ _-]?(?:fine|param)|全参|finetuning_type:\s*full", words):
        return "full-fine-tuning"
    if re.search(r"\bq?lora\b|peft|adapter", words):
        return "lora"
    if re.search(r"freez|冻结", words):
        return "layer-freezing"
    return ""


def dtype_of(seen: Observations) -> str:
    """Return bf16, fp16, fp32, or nothing when neither settings, words nor log tell."""
    found = _dtypes(seen.settings)
    if not found:
        said = _dtypes(seen.symptom.lower())
        found = said if len(said) == 1 else []
    return found[0] if found else _dtype_in_text(seen)


def _dtypes(words: str) -> list[str]:
    """Return the compute precisions that settings or a sentence name and do not deny."""
    return [name for name, pattern in _DTYPES.items() if pattern.search(words)]


def _dtype_in_text(seen: Observations) -> str:
    text = seen.text[:200_000].lower()
    if re.search(r"overflow!.*skipping step|loss scale|fp16 (?:mixed|training)|--fp16", text):
        return "fp16"
    return "bf16" if re.search(r"bf16\s*[:=]?\s*true|--bf16|bfloat16", text) else ""


def _setting(seen: Observations, aliases: tuple[str, ...]) -> float | None:
    for key, value in seen.config.items():
        if key.rsplit(".", 1)[-1].lower() not in aliases or isinstance(value, bool):
            continue
        if isinstance(value, int | float):
            return float(value)
        match = _NUMBER.search(value) if isinstance(value, str) else None
        if match:
            unit = match["unit"] or ""
            return float(match[0].removesuffix(unit)) * _UNITS.get(unit, 1.0)
    return None


def _audit(seen: Observations) -> dict[str, float]:
    if seen.audit is None:
        return {}
    names = ("trainable", "total", "supervised_tokens", "total_tokens", "masked_rows", "rows")
    found = {f"audit_{name}": seen.audit.number(name) for name in names}
    eos = seen.audit.payload.get("eos_supervised")
    share = seen.audit.number("eos_supervised")
    found["audit_eos"] = float(eos) if isinstance(eos, bool) else share
    return {name: value for name, value in found.items() if value is not None}


def _halt(seen: Observations) -> dict[str, float]:
    """Return why and where the guard stopped our own run."""
    if seen.halted is None:
        return {}
    reason = str(seen.halted.payload.get("reason", ""))
    return {
        "halted_step": float(seen.halted.step),
        "halted_bad": float(reason.startswith("non_finite")),
        "halted_diverged": float(reason == "diverged"),
    }


def _batch(known: dict[str, Series]) -> dict[str, float]:
    """Return a micro-batch of at most half the size, and the accumulation that keeps the step's samples."""
    if "set_batch" not in known or known["set_batch"].values[0] < 2:
        return {}
    micro = int(known["set_batch"].values[0])
    accumulate = int(known["set_accumulate"].values[0]) if "set_accumulate" in known else 1
    half = next(size for size in range(micro // 2, 0, -1) if micro % size == 0)
    return {"half_batch": half, "accumulate_for_half": accumulate * micro // half}


def _steps_done(known: dict[str, Series]) -> float:
    """Return the last step that the log shows as done."""
    curves = ("loss", "iterations_per_second", "learning_rate")
    return max((known[name].steps[-1] for name in curves if known.get(name)), default=0.0)


def _learning_rate(seen: Observations, known: dict[str, Series]) -> dict[str, float]:
    """Return the peak learning rate and how it compares with the method's usual one."""
    logged = _from_the_start(seen.metric("learning_rate"))
    planned = known.get("set_lr")
    peak = planned.values[0] if planned else max(logged, default=math.nan)
    method = method_of(seen)
    usual = USUAL_LEARNING_RATE.get(method, 2e-4)
    return {"peak_lr": peak, "usual_lr": usual, "lr_ratio": peak / usual}


def _from_the_start(rate: Series) -> list[float]:
    """Return the logged rates above 0; none of an excerpt that shows only the end of a decay."""
    values = [value for value in rate.finite if value > 0]
    late = rate.epochs[:1] and rate.epochs[0] > _LATE_EPOCH
    return (
        [] if late and values and values[0] == max(values) and values[-1] < _CALM_RATE else values
    )


def _passes(known: dict[str, Series], symptom: str) -> float:
    """Return how many epochs were trained: logged, said, or planned where nothing else is known."""
    logged = known["epoch"].finite if "epoch" in known else []
    said = [float(word) for word in _SAID_EPOCHS.findall(symptom)]
    planned = known["set_epochs"].values if "set_epochs" in known else []
    return max([*logged, *said, *planned], default=0.0)


_FLAGS: dict[str, Callable[[Observations], bool]] = {
    "is_lora": lambda seen: method_of(seen) == "lora",
    "is_full": lambda seen: method_of(seen) == "full-fine-tuning",
    "is_fp16": lambda seen: dtype_of(seen) == "fp16",
    "is_bf16": lambda seen: dtype_of(seen) == "bf16",
    "set_checkpointing": lambda seen: bool(
        re.search(r"(?:gradient_|activation_|\b)checkpointing: true", seen.settings)
    ),
    "is_run": lambda seen: seen.plan is not None,
    "has_error": lambda seen: bool(seen.error),
    "has_words": lambda seen: bool(seen.symptom),
}
