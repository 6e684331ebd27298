"""Small results in rows: a forecast, a comparison, a check of the installation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.changes import change_words
from tutor_agent.tui.paint import bar, dotted, hanging, line, lines
from tutor_agent.tui.widgets.piece import Piece
from tutor_agent.tui.widgets.plan_card import FIT_STYLE
from tutor_agent.tui.widgets.runs_table import run_row

if TYPE_CHECKING:
    from tutor_agent.actions.check import CheckItem
    from tutor_agent.actions.runs import Comparison
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.tui.paint import Row


class RowsView(Piece):
    """Rows without a border, under the line of the tool that gave them."""

    DEFAULT_CSS = """
    RowsView { margin-bottom: 1; padding-left: 2; }
    """


class ForecastView(RowsView):
    """Memory, speed and time of one configuration."""

    def __init__(self, price: Forecast) -> None:
        super().__init__()
        self.price = price

    def paint(self, width: int) -> Content:
        """Draw a bar, then figures."""
        words, price = self.words, self.price
        peak = price.peak_gib
        spread = f"{figures.gib(peak.low)}–{figures.gib(peak.high)} GiB"
        memory = line(
            (f"{figures.gib(peak.expected)} GiB", "bold $value"), (f"  {spread}", "$detail")
        )
        style = FIT_STYLE[price.fits]
        fits = line((words(f"fits.{price.fits}"), style))
        if price.capacity_gib:
            gauge = bar(peak.expected / price.capacity_gib, max(8, min(22, width - 30)), style)
            of = f"  / {figures.gib(price.capacity_gib)} GiB  "
            fits = line(gauge, (of, "$detail"), fits)
        largest = sorted(price.parts.items(), key=lambda part: -part[1])[:4]
        parts = [
            (f"{words.name(f'part.{name}', name)} {figures.gib(size)}", "$detail")
            for name, size in largest
        ]
        rows: list[Row] = [
            (words("plan.memory"), memory),
            ("", fits),
            (words("forecast.parts"), dotted(parts)),
            (
                words("forecast.speed"),
                line((f"{figures.rate(price.tokens_per_second)} tok/s", "$value")),
            ),
        ]
        rows += [("", Content.styled(words.of(note), "$label")) for note in price.notes]
        return hanging(rows, width)


class ComparisonView(RowsView):
    """Two runs, and what differs in their plans."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__()
        self.comparison = comparison

    def paint(self, width: int) -> Content:
        """Draw both runs, then the changes."""
        compared = self.comparison
        rows = [run_row(view, self.words, width) for view in (compared.first, compared.second)]
        changes = change_words(compared.first.plan, compared.second.plan, self.words)
        return lines(*rows, *(change.truncate(width, ellipsis=True) for change in changes))


class ChecksView(RowsView):
    """What was checked of the installation."""

    def __init__(self, items: tuple[CheckItem, ...]) -> None:
        super().__init__()
        self.items = items

    def paint(self, width: int) -> Content:
        """Draw one row an item."""
        rows: list[Row] = []
        for item in self.items:
            sign = ("✓ ", "$done") if item.good else ("✗ ", "$trouble")
            detail = (self.words.of(item.detail), "$detail" if item.good else "$trouble")
            rows.append((item.name, line(sign, detail)))
        return hanging(rows, width)
