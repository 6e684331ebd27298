"""Figures of a metric series, by the names that conditions of fault cards use."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.diagnose.series import Series

NAN = math.nan


def has(x: Series) -> float:
    """Whether the metric was logged."""
    return len(x) > 0


def count(x: Series) -> float:
    """How many points were logged."""
    return len(x)


def last(x: Series, default: float = NAN) -> float:
    """The last value, NaN and infinities included."""
    return x.values[-1] if x.values else default


def first(x: Series, default: float = NAN) -> float:
    """The first value."""
    return x.values[0] if x.values else default


def tail(x: Series, n: float = 0) -> list[float]:
    """The numbers among the last `n` points; 0 means all."""
    values = x.values[-int(n) :] if n else x.values
    return [value for value in values if math.isfinite(value)]


def low(x: Series, n: float = 0) -> float:
    """The lowest number."""
    return min(tail(x, n), default=NAN)


def high(x: Series, n: float = 0) -> float:
    """The highest number."""
    return max(tail(x, n), default=NAN)


def mean(x: Series, n: float = 0) -> float:
    """The mean of the numbers."""
    values = tail(x, n)
    return sum(values) / len(values) if values else NAN


def median(x: Series, n: float = 0) -> float:
    """The median of the numbers."""
    values = tail(x, n)
    return statistics.median(values) if values else NAN


def slope(x: Series, n: float = 0) -> float:
    """The least-squares slope a point over the last `n` points."""
    values = tail(x, n)
    if len(values) < 2:
        return 0.0
    middle = (len(values) - 1) / 2
    centre = sum(values) / len(values)
    spread = sum((i - middle) ** 2 for i in range(len(values)))
    return sum((i - middle) * (value - centre) for i, value in enumerate(values)) / spread


def ratio(x: Series) -> float:
    """The last value over the lowest one."""
    lowest = low(x)
    return x.values[-1] / lowest if x.values and lowest > 0 else NAN


def since(x: Series) -> float:
    """How many points were logged after the lowest one."""
    lowest = low(x)
    return len(x) - 1 - x.values.index(lowest) if lowest in x.values else NAN


def rising(x: Series) -> float:
    """How many rises in a row end the series."""
    rises = 0
    for before, after in zip(reversed(x.values[:-1]), reversed(x.values[1:]), strict=True):
        if not after > before:
            break
        rises += 1
    return rises


def bad(x: Series) -> float:
    """How many points are NaN or infinite."""
    return sum(not math.isfinite(value) for value in x)


def distinct(x: Series) -> float:
    """How many different values there are."""
    return len(set(x.values))


def step(x: Series) -> float:
    """The step of the last point."""
    return x.steps[-1] if x.steps else NAN


def step_first(x: Series) -> float:
    """The step of the first point."""
    return x.steps[0] if x.steps else NAN


def step_low(x: Series) -> float:
    """The step of the lowest number."""
    return _step_of(x, low(x))


def step_high(x: Series) -> float:
    """The step of the highest number."""
    return _step_of(x, high(x))


def step_bad(x: Series) -> float:
    """The step of the first point that is NaN or infinite."""
    return x.steps[x.bad] if x.bad is not None else NAN


def before_bad(x: Series) -> float:
    """The last number before the first NaN or infinity."""
    return last_number(x.values[: x.bad]) if x.bad else NAN


def last_number(values: list[float]) -> float:
    """The last of `values` that is a number."""
    return next((value for value in reversed(values) if math.isfinite(value)), NAN)


def _step_of(x: Series, value: float) -> float:
    return x.steps[x.values.index(value)] if value in x.values else NAN


SERIES_FIGURES: dict[str, Callable[..., float]] = {
    figure.__name__: figure
    for figure in (
        has, count, last, first, low, high, mean, median, slope, ratio, since, rising, bad,
        distinct, step, step_first, step_low, step_high, step_bad, before_bad,
    )
}  # fmt: skip
NUMBER_FIGURES: dict[str, Callable[[float], float]] = {
    "finite": math.isfinite,
    "abs": abs,
    "log": lambda value: math.log(value) if value > 0 else NAN,
}
