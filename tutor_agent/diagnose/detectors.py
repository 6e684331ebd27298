"""Detectors over a stream of losses. Windows count logged points, not steps.

Two are needed: a moving window follows a slow rise and never sees it, so drift compares with the best
level so far; a spike stands out of the recent window and usually heals.
"""

from __future__ import annotations

import bisect
import itertools
import math
from collections import deque
from dataclasses import dataclass


class RollingMedian:
    """Median of the last `size` values."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        """Take one value in, and the oldest one out of a full window."""
        if len(self._order) == self._size:
            del self._sorted[bisect.bisect_left(self._sorted, self._order.popleft())]
        self._order.append(value)
        bisect.insort(self._sorted, value)

    @property
    def median(self) -> float:
        """The middle value, NaN of an empty window."""
        count = len(self._sorted)
        if not count:
            return math.nan
        return (self._sorted[(count - 1) // 2] + self._sorted[count // 2]) / 2

    @property
    def deviation(self) -> float:
        """The median distance from the median, scaled to a standard deviation."""
        middle = self.median
        distances = sorted(abs(value - middle) for value in self._sorted)
        return 1.4826 * distances[len(distances) // 2] if distances else math.nan


@dataclass(frozen=True, slots=True)
class Level:
    """A level of the loss, now and in comparison."""

    now: float
    usual: float
    step: int
    usual_step: int = 0


class SpikeDetector:
    """One point 6 deviations above the recent median of the log loss, or three in a row above 3."""

    window = 100
    first_point = 30
    once, thrice = 6.0, 3.0
    smallest_rise = math.log(1.3)

    def __init__(self) -> None:
        self._recent = RollingMedian(self.window)
        self._above = 0

    def add(self, loss: float, step: int) -> Level | None:
        """Take one loss; return the spike that it is or completes."""
        value = math.log(max(loss, 1e-12))
        spike: Level | None = None
        if len(self._recent) >= self.first_point:
            middle = self._recent.median
            z = (value - middle) / max(self._recent.deviation, 0.02)
            self._above = self._above + 1 if z > self.thrice else 0
            high = z > self.once or self._above == 3
            if high and value - middle > self.smallest_rise:
                spike = Level(now=loss, usual=math.exp(middle), step=step)
        self._recent.add(value)
        return spike


class DriftDetector:
    """The median of 50 points stays above 1.4 times the lowest median of 100, for 20 points."""

    short, long, hold = 50, 100, 20
    factor = 1.4
    first_point = 150

    def __init__(self) -> None:
        self._short = RollingMedian(self.short)
        self._long = RollingMedian(self.long)
        self._best = math.inf
        self._best_step = 0
        self._points = 0
        self._held = 0

    def add(self, loss: float, step: int) -> Level | None:
        """Take one loss; return the drift once it has held long enough."""
        self._points += 1
        self._short.add(loss)
        self._long.add(loss)
        if len(self._long) < self.long:
            return None
        now = self._short.median
        self._held = self._held + 1 if now > self.factor * self._best else 0
        level = self._long.median
        if level < self._best:
            self._best, self._best_step = level, step
        if self._held < self.hold or self._points < self.first_point:
            return None
        return Level(now=now, usual=self._best, step=step, usual_step=self._best_step)


class EarlyRiseDetector:
    """While drift has too few points: the last points lie far above the best level so far."""

    last_point = DriftDetector.first_point
    fewest_above = 3
    factor, rise = 2.0, 2.0

    def __init__(self) -> None:
        self._level, self._recent = RollingMedian(3), RollingMedian(5)
        self._best = math.inf
        self._best_step = 0
        self._above = self._points = 0

    def add(self, loss: float, step: int) -> Level | None:
        """Take one loss; return the rise once it has lasted."""
        self._points += 1
        if self._points > self.last_point:
            return None
        limit = max(self.factor * self._best, self._best + self.rise)
        self._above = self._above + 1 if loss > limit else 0
        self._level.add(loss)
        self._recent.add(loss)
        if self._level.median < self._best:
            self._best, self._best_step = self._level.median, step
        if self._above < self.fewest_above or self._recent.median <= limit:
            return None
        return Level(now=loss, usual=self._best, step=step, usual_step=self._best_step)


class EvaluationDetector:
    """Three evaluations in a row above the best one by more than their own noise."""

    in_a_row = 3
    smallest_rise = 0.01

    def __init__(self) -> None:
        self._values: list[float] = []
        self._best = math.inf
        self._best_step = 0
        self._above = 0

    def add(self, loss: float, step: int) -> Level | None:
        """Take one evaluation loss; return the rise once it has lasted."""
        if not math.isfinite(loss):
            return None
        self._values.append(loss)
        if loss < self._best:
            self._best, self._best_step, self._above = loss, step, 0
            return None
        margin = 1 + max(self.smallest_rise, 2 * self._noise())
        self._above = self._above + 1 if loss > self._best * margin else 0
        if self._above < self.in_a_row:
            return None
        return Level(now=loss, usual=self._best, step=step, usual_step=self._best_step)

    def _noise(self) -> float:
        """Return how much the evaluation loss went up by chance before its best point, relatively."""
        place = self._values.index(self._best)
        before = self._values[: place + 1]
        rises = [b / a - 1 for a, b in itertools.pairwise(before) if b > a > 0]
        return max(rises, default=0.0) if len(before) >= 5 else 0.0
