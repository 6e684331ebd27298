"""How long samples are: from a few quantiles to the averages that batches depend on."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts, Lengths

_KNOTS = (0.0, 0.5, 0.95, 1.0)


class LengthCurve(NamedTuple):
    """Sample lengths in tokens at the quantiles 0, 0.5, 0.95 and 1, straight in between."""

    values: tuple[float, float, float, float]

    @classmethod
    def of(cls, lengths: Lengths, rows: int) -> LengthCurve:
        """Choose the shortest length so that the curve's mean is the measured one."""
        p50, p95, longest = float(lengths.p50), float(lengths.p95), float(lengths.longest)
        mean = lengths.total / max(1, rows)
        upper = 0.45 * (p50 + p95) / 2 + 0.05 * (p95 + longest) / 2
        shortest = min(max(4 * (mean - upper) - p50, 1.0), p50)
        return cls((shortest, p50, p95, longest))

    def at(self, quantile: float) -> float:
        """Return the length at a quantile."""
        for i in range(3):
            if quantile <= _KNOTS[i + 1]:
                share = (quantile - _KNOTS[i]) / (_KNOTS[i + 1] - _KNOTS[i])
                return self.values[i] + share * (self.values[i + 1] - self.values[i])
        return self.values[3]

    def mean(self, limit: float) -> float:
        """Return the mean length when samples are cut at `limit`."""
        points = 200
        return sum(min(self.at((i + 0.5) / points), limit) for i in range(points)) / points

    def padded(self, limit: float, batch: int) -> float:
        """Return the usual length of the longest of `batch` samples, to which all are padded."""
        if batch == 1:
            return self.mean(limit)
        return min(self.at(batch / (batch + 1)), limit)

    def share_cut(self, limit: float) -> float:
        """Return the share of samples longer than `limit`."""
        points = 200
        return sum(self.at((i + 0.5) / points) > limit for i in range(points)) / points


def curve_of(data: DataFacts) -> LengthCurve:
    """Return the length curve of a data file."""
    return LengthCurve.of(data.lengths, data.rows)
