"""Turns a curve into rows of characters: braille dots, evaluations, marks, axes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.tui.series import Series

Run = tuple[str, str]
"""Characters and the theme variable of their colour."""

LABELS = 6
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
_MANY_MARKS = 6
_STEPS = (1, 2, 2.5, 5, 10)


@dataclass(frozen=True)
class Scale:
    """Maps losses to dot rows."""

    low: float
    high: float
    rows: int

    def row(self, value: float) -> int:
        """Return the dot row of a loss, clipped to the frame."""
        share = (self.high - value) / (self.high - self.low)
        return min(self.rows - 1, max(0, round(share * (self.rows - 1))))


class Raster:
    """A grid of cells, 2 x 4 dots each, with one colour a cell."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._bits = [[0] * width for _ in range(height)]
        self._style = [["" for _ in range(width)] for _ in range(height)]
        self._over: dict[tuple[int, int], Run] = {}

    def dot(self, column: int, row: int, style: str, *, above: bool = False) -> None:
        """Set a dot; `above` takes the cell over from another colour, else it keeps away from it."""
        x, y = column // 2, row // 4
        if not (0 <= x < self.width and 0 <= y < self.height):
            return
        taken = self._style[y][x]
        if taken not in {"", style}:
            if not above:
                return
            self._bits[y][x] = 0
        self._bits[y][x] |= _DOTS[column % 2][row % 4]
        self._style[y][x] = style

    def put(self, x: int, y: int, character: str, style: str) -> None:
        """Put a character over the dots."""
        if 0 <= x < self.width and 0 <= y < self.height:
            self._over[x, y] = (character, style)

    def cell(self, x: int, y: int) -> Run | None:
        """Return what a cell shows, None when it is empty."""
        over = self._over.get((x, y))
        if over:
            return over
        bits = self._bits[y][x]
        return (chr(0x2800 + bits), self._style[y][x]) if bits else None


def draw(series: Series, width: int, height: int) -> list[list[Run]]:
    """Draw the curve, its axes and its marks into `height` rows of `width` cells."""
    cells, rows = max(4, width - LABELS), max(2, height - 2)
    series.fit(cells * 2)
    bounds = series.bounds()
    scale = nice_scale(bounds, rows * 4) if bounds else Scale(0.0, 1.0, rows * 4)
    raster = Raster(cells, rows)
    _curve(raster, series, scale)
    _marks(raster, series, scale)
    drawn = [_row(raster, y, scale if bounds else None) for y in range(rows)]
    drawn.append([(" " * (LABELS - 1) + "└" + "─" * cells, "line")])
    drawn.append([(" " * LABELS + step_labels(series.axis, cells), "label")])
    return drawn


def nice_scale(bounds: tuple[float, float], rows: int) -> Scale:
    """Widen the bounds a little, to round figures."""
    low, high = bounds
    if high - low < 1e-9:
        spread = max(abs(high) * 0.05, 1e-3)
        low, high = low - spread, high + spread
    unit = 10 ** math.floor(math.log10(high - low)) / 5
    return Scale(math.floor(low / unit) * unit, math.ceil(high / unit) * unit, rows)


def step_labels(axis: int, cells: int) -> str:
    """Return round step numbers under their columns."""
    rough = max(1.0, axis / max(1, cells / 10))
    power = 10 ** math.floor(math.log10(rough))
    unit = max(1, round(next(s * power for s in _STEPS if s * power >= rough)))
    out = [" "] * cells
    for step in range(0, axis + 1, unit):
        words = _thousands(step)
        x = step * cells // max(1, axis + 1)
        if x + len(words) <= cells:
            out[x : x + len(words)] = words
    return "".join(out)


def _thousands(step: int) -> str:
    return f"{step / 1000:g}k" if step >= 10_000 else str(step)


def _curve(raster: Raster, series: Series, scale: Scale) -> None:
    for index, column in series.columns.items():
        for row in range(scale.row(column.high), scale.row(column.low) + 1):
            raster.dot(index, row, "band")
    before: tuple[int, int] | None = None
    for index in sorted(series.columns):
        row = scale.row(series.columns[index].mean)
        for column, dot_row in _segment(before, (index, row)):
            raster.dot(column, dot_row, "primary", above=True)
        before = (index, row)


def _segment(start: tuple[int, int] | None, end: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the dots from `start` to `end`, so that sparse points still make a line."""
    if start is None:
        return [end]
    (x0, y0), (x1, y1) = start, end
    count = max(x1 - x0, abs(y1 - y0), 1)
    return [
        (x0 + round((x1 - x0) * i / count), y0 + round((y1 - y0) * i / count))
        for i in range(1, count + 1)
    ]


def _marks(raster: Raster, series: Series, scale: Scale) -> None:
    crowded = len(series.marks) > _MANY_MARKS
    for mark in series.marks.values():
        style, top = ("trouble", "✖") if mark.kind == "fault" else ("faint", "↻")
        x = series.column(mark.step) // 2
        for y in range(1 if crowded else raster.height):
            if y == 0 or mark.kind == "fault" or raster.cell(x, y) is None:
                raster.put(x, y, top if y == 0 else "┊", style)
    for step, value in series.evaluations:
        if math.isfinite(value):
            raster.put(series.column(step) // 2, scale.row(value) // 4, "◆", "caution")


def _row(raster: Raster, y: int, scale: Scale | None) -> list[Run]:
    ticked = scale is not None and y % 2 == 0
    label = " " * (LABELS - 1)
    if scale is not None and ticked:
        value = scale.high - (y * 4 + 1.5) / max(1, scale.rows - 1) * (scale.high - scale.low)
        label = f"{_axis_figure(value, scale.high - scale.low):>4} "[: LABELS - 1]
    runs: list[Run] = [(label, "label"), ("┤" if ticked else "│", "line")]
    for x in range(raster.width):
        empty = ("·", "grid") if ticked and x % 6 == 5 else (" ", "grid")
        character, style = raster.cell(x, y) or empty
        if runs[-1][1] == style:
            runs[-1] = (runs[-1][0] + character, style)
        else:
            runs.append((character, style))
    return runs


def _axis_figure(value: float, spread: float) -> str:
    """Return an axis figure in four cells."""
    if abs(value) >= 1000:
        return f"{value:.0e}".replace("e+0", "e")
    if abs(value) >= 100:
        return f"{value:.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.1f}" if spread >= 0.8 else f"{value:.2f}"
