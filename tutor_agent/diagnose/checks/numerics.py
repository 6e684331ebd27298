"""Checks over numbers that stop being numbers, and over the path that led there."""

from __future__ import annotations

import itertools
import math
import re
from typing import TYPE_CHECKING

from tutor_agent.diagnose.checks.registry import Shown, check

if TYPE_CHECKING:
    from tutor_agent.diagnose.observations import Observations


def first_bad(seen: Observations) -> tuple[str, int, float] | None:
    """Return (metric, index, step) of the first non-finite loss or gradient norm.

    The Trainer hides a NaN loss as 0, so a NaN gradient beside a plain loss counts as well.
    """
    found: list[tuple[float, str, int]] = []
    for name in ("loss", "grad_norm"):
        series = seen.metric(name)
        if series.bad is not None:
            found.append((series.steps[series.bad], name, series.bad))
    if not found:
        return None
    step, name, place = min(found)
    return name, place, step


@check("non-finite")
def non_finite(seen: Observations) -> Shown | None:
    """The loss or the gradient norm is NaN or infinite, in our run or in the log."""
    bad = first_bad(seen)
    if bad is None:
        return _halted_non_finite(seen)
    name, place, step = bad
    loss = seen.metric("loss")
    values: dict[str, object] = {
        "metric": name,
        "at": step,
        "value": seen.metric(name).values[place],
    }
    values["loss"] = loss.values[min(place, len(loss) - 1)] if len(loss) else math.nan
    return Shown(values)


@check("non-finite-at-once")
def non_finite_at_once(seen: Observations) -> Shown | None:
    """Nothing was ever finite: the very first logged gradient or loss is already bad."""
    bad = first_bad(seen)
    if bad is None or bad[1] > 0:
        return None
    every = all(not math.isfinite(v) for v in seen.metric(bad[0]).values)
    return Shown({"metric": bad[0], "at": bad[2]}) if every else None


@check("grows-then-breaks")
def grows_then_breaks(seen: Observations) -> Shown | None:
    """Loss or gradient norm grew before it stopped being a number."""
    bad = first_bad(seen)
    step = bad[2] if bad else (float(seen.halted.step) if seen.halted else None)
    if step is None:
        return None
    for name in ("loss", "grad_norm"):
        series = seen.metric(name)
        before = [
            (s, v) for s, v in zip(series.steps, series.values, strict=True)
            if s <= step and math.isfinite(v) and v > 0
        ]  # fmt: skip
        if len(before) < 2:
            continue
        low_step, low = min(before, key=lambda pair: pair[1])
        end_step, end = before[-1]
        if end > 1.5 * low and end_step > low_step:
            return Shown(
                {
                    "metric": name,
                    "low": low,
                    "high": end,
                    "from_step": low_step,
                    "to_step": end_step,
                },
                0.7 if end > 3 * low else 0.55,
            )
    return None


@check("sudden-break")
def sudden_break(seen: Observations) -> Shown | None:
    """Ordinary numbers, then NaN or infinity from one step to the next."""
    bad = first_bad(seen)
    if bad is None or bad[1] == 0 or grows_then_breaks(seen) is not None:
        return None
    series = seen.metric(bad[0])
    return Shown({"metric": bad[0], "before": series.values[bad[1] - 1], "at": bad[2]})


@check("isolated-bad-steps")
def isolated_bad_steps(seen: Observations) -> Shown | None:
    """Single NaN or 0 losses between ordinary ones: the weights are sound, those batches are not."""
    loss = seen.metric("loss")
    odd = [i for i, v in enumerate(loss.values) if math.isnan(v) or v == 0]
    if not odd or len(odd) > len(loss) / 2:
        return None
    fine_after = [v for v in loss.values[odd[-1] + 1 :] if math.isfinite(v) and v > 0]
    fine_before = [v for v in loss.values[: odd[0]] if math.isfinite(v) and v > 0]
    grad = seen.metric("grad_norm")
    if not fine_after or not fine_before or (grad.bad is not None and len(grad) > grad.bad + 3):
        return None
    return Shown({"bad": len(odd), "at": loss.steps[odd[0]], "after": fine_after[0]})


@check("zero-loss-zero-gradient")
def zero_loss_zero_gradient(seen: Observations) -> Shown | None:
    """Loss 0 with gradient 0: no token carries loss."""
    loss, grad = seen.metric("loss"), seen.metric("grad_norm")
    pairs = list(zip(loss.values, grad.values, strict=False))
    if not pairs or not all(a == 0 and b == 0 for a, b in pairs):
        return None
    return Shown({"points": len(pairs), "at": loss.steps[0]}, 0.9)


@check("zero-loss")
def zero_loss(seen: Observations) -> Shown | None:
    """Every logged loss is exactly 0 and no gradient norm says why."""
    loss, grad = seen.metric("loss"), seen.metric("grad_norm")
    if not len(loss) or any(loss.values) or len(grad):
        return None
    return Shown({"points": len(loss)})


@check("zero-gradient")
def zero_gradient(seen: Observations) -> Shown | None:
    """The gradient norm is 0 while the loss is not: nothing that is trained feels the loss."""
    loss, grad = seen.metric("loss"), seen.metric("grad_norm")
    if len(grad) < 2 or any(grad.values) or not any(loss.values):
        return None
    return Shown({"points": len(grad), "loss": loss.values[-1]}, 0.85)


@check("scale-exhausted")
def scale_exhausted(seen: Observations) -> Shown | None:
    """The fp16 loss scale was halved down to its floor, or many times in a row."""
    if re.search(
        r"loss scale already at minimum|minimum loss scale reached", seen.text, re.IGNORECASE
    ):
        return Shown({"scale": 1}, 0.92)
    scales = seen.metric("loss_scale").finite
    run = 0
    for before, after in itertools.pairwise(scales):
        run = run + 1 if after < before else 0
    if scales and (scales[-1] <= 1 or (run >= 5 and scales[-1] < 2**9)):
        return Shown({"scale": scales[-1]}, 0.85)
    return None


@check("scale-settles")
def scale_settles(seen: Observations) -> Shown | None:
    """Overflow lines at the start only, with a scale that is still large, and finite steps after."""
    scales = seen.metric("loss_scale").finite
    loss = seen.metric("loss")
    overflow = len(re.findall(r"OVERFLOW!|overflow.{0,20}skip", seen.text, re.IGNORECASE))
    if not overflow or re.search(r"already at minimum", seen.text) or loss.bad is not None:
        return None
    if not scales or scales[-1] < 2**8:
        return None
    return Shown({"overflows": overflow, "scale": scales[-1]})


@check("multiple-of-usual")
def multiple_of_usual(seen: Observations) -> Shown | None:
    """The loss is about the accumulation count times another one, or than a pretrained model gives."""
    loss = seen.metric("loss").finite
    accumulate = _accumulate(seen)
    others = [value for value in (*seen.metric("eval_loss").finite, *loss) if value > 0]
    if (
        loss
        and accumulate >= 2
        and abs(max(loss) / min(others, default=1.0) / accumulate - 1) < 0.15
    ):
        true = max(loss) / accumulate
        return Shown({"loss": max(loss), "accumulate": accumulate, "true": true}, 0.8)
    if not loss or accumulate < 2 or not 0.5 < loss[0] / accumulate < 4.5 or loss[0] < 6:
        return None
    return Shown({"loss": loss[0], "accumulate": accumulate, "true": loss[0] / accumulate}, 0.7)


def _accumulate(seen: Observations) -> float:
    for key, value in seen.config.items():
        name = key.rsplit(".", 1)[-1].lower()
        if name in {"gradient_accumulation_steps", "accumulate", "grad_accum", "ga"}:
            return (
                float(value) if isinstance(value, int | float | str) and _is_number(value) else 1.0
            )
    return 1.0


def _is_number(value: object) -> bool:
    return re.fullmatch(r"\d+(\.\d+)?", str(value)) is not None


def _halted_non_finite(seen: Observations) -> Shown | None:
    if seen.halted is None:
        return None
    reason = str(seen.halted.payload.get("reason", ""))
    if not reason.startswith("non_finite"):
        return None
    metric = "loss" if reason.endswith("loss") else "grad_norm"
    return Shown(
        {"metric": metric, "at": float(seen.halted.step), "value": math.nan, "loss": math.nan}
    )
