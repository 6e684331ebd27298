"""A loss curve kept in columns, so that drawing it costs the width and never the length of the run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.runs.curves import Curves

MarkKind = Literal["fault", "resume"]
Point = tuple[int, float]

_SMOOTH = 0.93


@dataclass(slots=True)
class Column:
    """What falls into one dot column."""

    low: float
    """Least finite loss."""
    high: float
    """Greatest finite loss."""
    mean: float
    """Smoothed loss at the column's end."""


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a step."""

    step: int
    """Optimizer step."""
    kind: MarkKind
    """`fault`: NaN or a halt; `resume`: a new attempt began here."""


class Series:
    """Training loss in columns, evaluations, and marks; grows point by point.

    The columns are rebuilt only when the width changes, when the curve is cut by a resume, or when
    it outgrows the axis, which then grows by a quarter: amortised, a point costs a constant.
    """

    def __init__(self) -> None:
        self.points: list[Point] = []
        self.evaluations: list[Point] = []
        self.marks: dict[tuple[int, MarkKind], Mark] = {}
        self.columns: dict[int, Column] = {}
        self.total: int | None = None
        self.version = 0
        self.rebuilt = 0
        self._width = 0
        self._axis = 0
        self._smooth: float | None = None
        self._seen = 0

    @property
    def axis(self) -> int:
        """The step at the right end."""
        return self._axis or self._fitting_axis()

    @property
    def last_step(self) -> int:
        """The newest step that is drawn."""
        latest = [series[-1][0] for series in (self.points, self.evaluations) if series]
        return max([*latest, *(step for step, _ in self.marks)], default=0)

    @property
    def has_fault(self) -> bool:
        """Whether a fault is marked."""
        return any(kind == "fault" for _, kind in self.marks)

    def add(self, points: Iterable[Point]) -> None:
        """Append training losses in the order of their steps."""
        for step, loss in points:
            self.points.append((step, loss))
            if not math.isfinite(loss):
                self.mark(step, "fault")
            if self._axis and step <= self._axis:
                self._place(step, loss)
            elif self._width:
                self._rebuild()
        self.version += 1

    def follow(self, curves: Curves, total: int | None) -> None:
        """Take what is new in the curves of a run; after a resume has cut them, begin again."""
        train, known = curves.train, len(self.points)
        whole = len(train) >= known and (not known or tuple(train[known - 1]) == self.points[-1])
        if not whole:
            known, self.points, self.marks = 0, [], {}
            self.columns, self._smooth, self._seen, self._axis = {}, None, 0, 0
        self.total = total
        self.evaluations = [(point.step, point.value) for point in curves.evaluations]
        for step in curves.resumes:
            self.mark(step, "resume")
        for mark in curves.marks:
            if mark.name in {"loss", "grad_norm"}:
                self.mark(mark.step, "fault")
        self.add((point.step, point.value) for point in train[known:])

    def mark(self, step: int, kind: MarkKind) -> None:
        """Mark a step; a second mark of a kind at the same step is dropped."""
        if (step, kind) not in self.marks:
            self.marks[step, kind] = Mark(step, kind)
            self.version += 1

    def fit(self, columns: int) -> None:
        """Lay the curve out for `columns` dot columns."""
        wanted = self._fitting_axis()
        if columns != self._width or wanted > self._axis:
            self._width = columns
            self._rebuild()

    def column(self, step: int) -> int:
        """Return the dot column of a step."""
        return min(self._width - 1, step * self._width // max(1, self._axis + 1))

    def bounds(self) -> tuple[float, float] | None:
        """Return the range worth showing: robust against single spikes, whole for the smooth line."""
        if not self.columns and not self.evaluations:
            return None
        cells = self.columns.values()
        lows, highs = sorted(cell.low for cell in cells), sorted(cell.high for cell in cells)
        kept = [cell.mean for cell in cells] + [v for _, v in self.evaluations if math.isfinite(v)]
        if lows:
            kept += [lows[len(lows) // 50], highs[-1 - len(highs) // 20]]
        return (min(kept), max(kept)) if kept else None

    def _fitting_axis(self) -> int:
        """The axis leaves room for what comes, and ends with the run once that is near."""
        reach = self.last_step
        if self.total and reach * 1.6 >= self.total:
            return max(reach, self.total)
        axis = max(20, self._axis)
        while axis < reach * 1.02:
            axis = math.ceil(axis * 1.25)
        return min(axis, max(reach, self.total)) if self.total else axis

    def _place(self, step: int, loss: float) -> None:
        if not math.isfinite(loss):
            return
        keep = min(_SMOOTH, self._seen / (self._seen + 4))
        old = loss if self._smooth is None else self._smooth
        self._smooth = keep * old + (1 - keep) * loss
        self._seen += 1
        index = self.column(step)
        cell = self.columns.get(index)
        if cell is None:
            self.columns[index] = Column(loss, loss, self._smooth)
        else:
            cell.low, cell.high = min(cell.low, loss), max(cell.high, loss)
            cell.mean = self._smooth

    def _rebuild(self) -> None:
        self.columns, self._smooth, self._seen = {}, None, 0
        if not self._width:
            return
        self._axis = self._fitting_axis()
        self.rebuilt += 1
        for step, loss in self.points:
            self._place(step, loss)
