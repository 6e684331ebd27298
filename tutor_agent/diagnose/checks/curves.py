"""Checks over curves: divergence, stairs, spikes, repetition, schedule, overfitting, speed."""

from __future__ import annotations

import itertools
import math
import re
import statistics
from typing import TYPE_CHECKING

from tutor_agent.diagnose.checks.registry import Shown, check
from tutor_agent.diagnose.figures import last_number, tail

if TYPE_CHECKING:
    from tutor_agent.diagnose.observations import Observations
    from tutor_agent.diagnose.series import Series

_LEVEL, _LEVEL_FROM = 5, 10
_MOVED = 0.06
_AS_LOW = 1.03


@check("loss-rises")
def loss_rises(seen: Observations) -> Shown | None:
    """The loss ends far above its best and does not come back."""
    loss = seen.metric("loss")
    values = [(i, v) for i, v in enumerate(loss.values) if math.isfinite(v) and v > 0]
    if len(values) < 2:
        return None
    lowest = min(v for _, v in values)
    best_place, best = next(pair for pair in reversed(values) if pair[1] <= _AS_LOW * lowest)
    end = statistics.median([v for _, v in values[-3:]]) if len(values) >= 6 else values[-1][1]
    after = [(i, v) for i, v in values if i > best_place]
    if not after or end < 1.4 * best or (end - best) < 0.25:
        return None
    if end - best < 1.5 * _largest_rise([v for _, v in values[: values.index((best_place, best))]]):
        return None
    peak_place, peak = max(after, key=lambda pair: pair[1])
    if len(after) >= 4 and end < best + 0.4 * (peak - best):
        return None
    factor = end / best
    return Shown(
        {
            "best": best,
            "peak": peak,
            "from_step": loss.steps[best_place],
            "to_step": loss.steps[peak_place],
            "factor": factor,
        },
        0.5 if factor < 2 else 0.7 if factor < 4 else 0.8,
    )


@check("spike-heals")
def spike_heals(seen: Observations) -> Shown | None:
    """A spike of the loss is followed by a return to the level before it."""
    loss = seen.metric("loss")
    values = loss.values
    if len(values) < 5 or loss.bad is not None or seen.metric("grad_norm").bad is not None:
        return None
    place = max(range(1, len(values) - 1), key=lambda i: values[i])
    before = statistics.median(values[max(0, place - 20) : place])
    after = values[place + 1 :]
    noise = _noise(values[:place])
    if values[place] < max(1.5, 1 + 4 * noise) * before:
        return None
    tail_level = statistics.median(after[-max(1, len(after) // 2) :])
    if tail_level > 1.15 * before:
        return None
    return Shown(
        {"at": loss.steps[place], "peak": values[place], "level": tail_level, "before": before}
    )


@check("stairs")
def stairs(seen: Observations) -> Shown | None:
    """The loss drops at epoch boundaries and is flat inside the epochs."""
    loss = seen.metric("loss")
    points = [
        (e, v) for e, v in zip(loss.epochs, loss.values, strict=True)
        if math.isfinite(e) and math.isfinite(v)
    ]  # fmt: skip
    drops: list[tuple[float, float, float]] = []
    inside: list[float] = []
    for (e0, v0), (e1, v1) in itertools.pairwise(points):
        crossed = math.floor(e1) > math.floor(e0) and math.floor(e1) >= 1 and e0 > 0
        if crossed and e1 - math.floor(e1) < 0.5:
            drops.append((math.floor(e1), v0, v1))
        else:
            inside.append(abs(v1 - v0))
    big = [drop for drop in drops if drop[2] < 0.87 * drop[1]]
    if not big or len(big) < len(drops):
        return None
    if inside and statistics.median(inside) > 0.5 * statistics.median(d[1] - d[2] for d in big):
        return None
    return Shown({"epoch": big[0][0], "above": big[0][1], "below": big[0][2], "drops": len(big)})


@check("same-losses-again")
def same_losses_again(seen: Observations) -> Shown | None:
    """The same losses repeat digit for digit in a later epoch: the weights never change."""
    values = seen.metric("loss").values
    for period in range(2, len(values) // 2 + 1):
        repeats = len(values) // period
        block = values[:period]
        whole = values[: repeats * period] == block * repeats
        if whole and len(set(block)) > 1:
            return Shown({"period": period, "loss": block[0], "repeats": repeats})
    return None


@check("constant-loss")
def constant_loss(seen: Observations) -> Shown | None:
    """Many points and hardly any movement, relative to the noise of one step."""
    values = seen.metric("loss").finite
    if len(values) < 8 or values[0] == 0 or seen.metric("grad_norm").bad is not None:
        return None
    third = max(2, len(values) // 3)
    start, end = statistics.median(values[:third]), statistics.median(values[-third:])
    if abs(start - end) > 0.02 * start:
        return None
    return Shown({"start": start, "end": end, "points": len(values)})


@check("eval-rises")
def eval_rises(seen: Observations) -> Shown | None:
    """The evaluation loss has left its best behind while training goes on falling."""
    evals = seen.metric("eval_loss")
    finite = evals.finite
    if len(finite) < 3 or not finite:
        return None
    best = min(finite)
    place = evals.values.index(best)
    later = [v for v in evals.values[place + 1 :] if math.isfinite(v)]
    margin = max(0.01, 2 * _noise(finite[: place + 1]) if place >= 4 else 0.01)
    above = [v for v in later if v > best * (1 + margin)]
    if len(above) < 2 or len(above) < len(later) or train_rises(seen):
        return None
    return Shown(
        {
            "best": best,
            "at": evals.steps[place],
            "last": evals.values[-1],
            "evaluations": len(above),
            "rise": 100 * (evals.values[-1] / best - 1),
        },
        0.85 if len(above) >= 3 else 0.6,
    )


@check("metric-improves")
def metric_improves(seen: Observations) -> Shown | None:
    """The evaluation loss rises while the task's own metric still gets better."""
    evals, up, down = (seen.metric(name) for name in ("eval_loss", "metric_up", "metric_down"))
    if len(evals) < 2 or evals.values[-1] <= min(evals.values):
        return None
    better_up = len(up) >= 2 and up.values[-1] > up.values[0] and up.values[-1] >= max(up.values)
    better_down = len(down) >= 2 and down.values[-1] < down.values[0]
    if not (better_up or better_down):
        return None
    metric = up if better_up else down
    return Shown(
        {
            "first": metric.values[0],
            "now": metric.values[-1],
            "low": min(evals.values),
            "eval": evals.values[-1],
        },
        0.9,
    )


@check("noisy-but-falling")
def noisy_but_falling(seen: Observations) -> Shown | None:
    """Single steps jump, and the smoothed loss falls."""
    values = seen.metric("loss").finite
    if len(values) < 12 or seen.metric("loss").bad is not None:
        return None
    third = len(values) // 3
    start, end = statistics.fmean(values[:third]), statistics.fmean(values[-third:])
    noise = _noise(values)
    if noise < 0.15 or end >= start:
        return None
    return Shown({"noise": 100 * noise, "start": start, "end": end})


@check("clean-run")
def clean_run(seen: Observations) -> Shown | None:
    """Finite, falling, no error, no complaint."""
    loss, grad = seen.metric("loss"), seen.metric("grad_norm")
    if len(loss) < 5 or loss.bad is not None or grad.bad is not None or seen.error:
        return None
    third = max(1, len(loss) // 3)
    start, end = statistics.median(loss.values[:third]), statistics.median(loss.values[-third:])
    if not 0 < end < 0.97 * start or max(loss.values[-third:]) > 1.5 * start:
        return None
    return Shown({"start": start, "end": end, "points": len(loss)})


@check("lr-constant")
def lr_constant(seen: Observations) -> Shown | None:
    """The learning rate stays at its top although a decay was asked for."""
    rate, epochs = seen.metric("learning_rate"), seen.metric("epoch")
    asked = any(word in seen.settings for word in ("cosine", "linear", "polynomial", "decay"))
    spread = max(epochs.finite, default=0) - min(epochs.finite, default=0)
    values = rate.finite
    if not asked or len(values) < 2 or values[-1] == 0 or "constant" in seen.settings:
        return None
    if len(set(values[-max(2, len(values) // 2) :])) > 1 or (spread < 0.5 and len(values) < 20):
        return None
    return Shown({"rate": values[-1], "points": len(values)})


@check("lr-collapses")
def lr_collapses(seen: Observations) -> Shown | None:
    """The learning rate falls by orders of magnitude within a few points."""
    rate = seen.metric("learning_rate")
    values = rate.finite
    for place in range(1, len(values)):
        before, now = values[place - 1], values[place]
        if before > 0 and now < before / 50 and len(values) - place >= 2 and now < max(values) / 50:
            return Shown({"before": before, "now": values[-1], "at": rate.steps[place]})
    return None


@check("lr-stays-zero")
def lr_stays_zero(seen: Observations) -> Shown | None:
    """The learning rate is 0 at every point, well past any warm-up."""
    rate = seen.metric("learning_rate")
    if len(rate) < 3 or any(rate.values):
        return None
    return Shown({"points": len(rate), "at": rate.steps[-1]}, 0.9)


@check("lr-warms-up")
def lr_warms_up(seen: Observations) -> Shown | None:
    """The learning rate is 0 on the first lines and rises afterwards."""
    rate = seen.metric("learning_rate")
    values = rate.finite
    if len(values) < 2 or values[0] != 0 or values[-1] <= 0:
        return None
    first = next(i for i, value in enumerate(values) if value > 0)
    return Shown({"at": rate.steps[first], "value": values[first]})


@check("lr-ends-at-zero")
def lr_ends_at_zero(seen: Observations) -> Shown | None:
    """The learning rate is 0 at the last point only, after a smooth way down."""
    rate = seen.metric("learning_rate")
    values = rate.finite
    if len(values) < 3 or values[-1] != 0 or min(values[:-1]) <= 0:
        return None
    if any(after > before for before, after in itertools.pairwise(values[-3:])):
        return None
    return Shown({"at": rate.steps[-1]})


_RESUMED = re.compile(
    r"resum|restart|continuing training|恢复|续训|重启|加载.{0,10}(?:checkpoint|检查点)",
    re.IGNORECASE,
)
_LOSS = re.compile(r"(?<![\w])['\"]?(?:train_?)?loss['\"]?\s*[:=]?\s*(\d+\.\d+)", re.IGNORECASE)


@check("loss-moves-at-resume")
def loss_moves_at_resume(seen: Observations) -> Shown | None:
    """The loss right after a resume is another one than right before it."""
    before: float | None = None
    resumed = False
    for line in seen.lines:
        found = _LOSS.search(line)
        if found is None:
            resumed = resumed or (before is not None and _RESUMED.search(line) is not None)
        elif not resumed:
            before = float(found[1])
        elif before and abs(float(found[1]) / before - 1) > _MOVED:
            return Shown({"before": before, "after": float(found[1])})
        else:
            return None
    return None


@check("speed-collapses")
def speed_collapses(seen: Observations) -> Shown | None:
    """The speed falls to less than half of what it was, and stays there."""
    for name in ("tokens_per_second", "iterations_per_second"):
        series = seen.metric(name)
        values = [v for v in series.finite if v > 0]
        if len(values) < 3:
            continue
        top = statistics.median(values[: max(1, len(values) // 3)])
        now = statistics.median(values[-max(2, len(values) // 4) :])
        if now < 0.4 * top:
            return Shown(
                {"top": top, "now": now, "factor": top / now}, 0.75 if now < 0.2 * top else 0.6
            )
    return None


@check("tiny-loss")
def tiny_loss(seen: Observations) -> Shown | None:
    """The training loss is close to zero after several epochs, with nothing held out."""
    loss = seen.metric("loss")
    values = [v for v in loss.finite if v > 0]
    passes = max([e for e in loss.epochs if math.isfinite(e)], default=0.0)
    if not values or last_number(values) > 0.08 or passes <= 3:
        return None
    return Shown({"loss": values[-1], "passes": passes})


@check("forgets")
def forgets(seen: Observations) -> Shown | None:
    """General skill falls while the trained task gains."""
    general = tail(seen.metric("general_metric"))
    if len(general) < 2 or general[-1] > 0.92 * general[0]:
        return None
    return Shown({"first": general[0], "now": general[-1]}, 0.85)


def train_rises(seen: Observations) -> bool:
    """Return whether the training loss itself has left its best level: single steps are noisy, levels less."""
    loss: Series = seen.metric("loss")
    values = loss.finite
    if len(values) < _LEVEL_FROM:
        return len(values) >= 2 and values[-1] > 1.2 * min(values)
    levels = [statistics.median(values[i : i + _LEVEL]) for i in range(len(values) - _LEVEL + 1)]
    return levels[-1] > 1.4 * min(levels)


def _largest_rise(values: list[float]) -> float:
    """Return the largest way up among `values`: below a later best it was noise."""
    lowest, rise = math.inf, 0.0
    for value in values:
        lowest = min(lowest, value)
        rise = max(rise, value - lowest)
    return rise


def _noise(values: list[float]) -> float:
    """Return the spread of one step relative to its level, by differences of neighbours."""
    if len(values) < 3:
        return 0.0
    level = statistics.median(values)
    steps = [abs(b - a) for a, b in itertools.pairwise(values)]
    return statistics.median(steps) / level / 0.954 if level > 0 else 0.0
