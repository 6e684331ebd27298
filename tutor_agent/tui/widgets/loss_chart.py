"""The loss over the steps, in braille dots."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from tutor_agent.tui.raster import draw
from tutor_agent.tui.series import Series
from tutor_agent.tui.widgets.piece import colours_of

if TYPE_CHECKING:
    from tutor_agent.runs.curves import Curves


class LossChart(Widget):
    """Band of all losses, smooth line, evaluations, marks. Drawn by line, which is cheaper than by text."""

    DEFAULT_CSS = """
    LossChart { height: 1fr; min-height: 5; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.series = Series()
        self._drawn: tuple[tuple[object, ...], list[Strip]] | None = None

    def follow(self, curves: Curves, total: int | None) -> None:
        """Take what is new."""
        version = self.series.version
        self.series.follow(curves, total)
        if self.series.version != version:
            self.refresh()

    def mark_fault(self, step: int) -> None:
        """Mark where the guard stopped the run: such a step never reaches the curve."""
        version = self.series.version
        self.series.mark(step, "fault")
        if self.series.version != version:
            self.refresh()

    def clear(self) -> None:
        """Begin with an empty chart: another run is followed."""
        self.series = Series()
        self.refresh()

    def reword(self) -> None:
        """Draw again after the theme changed."""
        self.refresh()

    def render_line(self, y: int) -> Strip:
        """Draw one row."""
        width, height = self.size
        theme, colours = colours_of(self)
        key = (id(self.series), self.series.version, width, height, theme)
        if self._drawn is None or self._drawn[0] != key:
            self._drawn = (key, self._draw(width, height, colours))
        rows = self._drawn[1]
        return rows[y] if y < len(rows) else Strip.blank(width, self.rich_style)

    def _draw(self, width: int, height: int, colours: dict[str, str]) -> list[Strip]:
        ground = Style(bgcolor=cast("str", self.rich_style.bgcolor))
        styles: dict[str, Style] = {}
        rows: list[Strip] = []
        for runs in draw(self.series, width, height):
            segments: list[Segment] = []
            for characters, name in runs:
                style = styles.get(name)
                if style is None:
                    style = styles[name] = ground + Style(color=colours[name])
                segments.append(Segment(characters, style))
            rows.append(Strip(segments).adjust_cell_length(width, ground))
        return rows
