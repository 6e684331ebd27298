"""A metric over a run: values with the steps and epochs at which they were logged."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


@dataclass(slots=True)
class Series:
    """Values in the order in which they were logged; NaN and infinities are kept."""

    values: list[float] = field(default_factory=list[float])
    steps: list[float] = field(default_factory=list[float])
    epochs: list[float] = field(default_factory=list[float])

    @classmethod
    def of(cls, values: Iterable[float]) -> Series:
        """Make a series whose steps count from 1."""
        kept = [float(value) for value in values]
        return cls(kept, [float(i + 1) for i in range(len(kept))], [math.nan] * len(kept))

    def add(self, value: float, step: float, epoch: float = math.nan) -> None:
        """Append one logged point."""
        self.values.append(value)
        self.steps.append(step)
        self.epochs.append(epoch)

    def cut(self, step: float) -> None:
        """Drop every point at or after `step`: a resumed run starts there again."""
        kept = [i for i, at in enumerate(self.steps) if at < step]
        self.values = [self.values[i] for i in kept]
        self.steps = [self.steps[i] for i in kept]
        self.epochs = [self.epochs[i] for i in kept]

    def __len__(self) -> int:
        return len(self.values)

    def __iter__(self) -> Iterator[float]:
        return iter(self.values)

    @property
    def finite(self) -> list[float]:
        """The values that are numbers."""
        return [value for value in self.values if math.isfinite(value)]

    @property
    def bad(self) -> int | None:
        """Index of the first value that is NaN or infinite."""
        return next((i for i, value in enumerate(self.values) if not math.isfinite(value)), None)


def as_series(values: Series | Sequence[float]) -> Series:
    """Return `values` as a series."""
    return values if isinstance(values, Series) else Series.of(values)
