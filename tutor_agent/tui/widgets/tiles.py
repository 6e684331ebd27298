"""The newest figures of a run, side by side."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.paint import line, lines
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.runs.curves import Curves
    from tutor_agent.runs.view import RunView

Tile = tuple[str, str, str]


class Tiles(Piece):
    """Train, validation, gradient, learning rate, speed."""

    DEFAULT_CSS = """
    Tiles { height: 2; margin-top: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._broken: dict[str, float] = {}

    def show(self, view: RunView, curves: Curves) -> None:
        """Show the newest figures; one that is no number wins over the last finite one."""
        if view == self._view:
            return
        self._view = view
        self._broken = {}
        for mark in curves.marks:
            newest = curves[mark.name]
            if not newest or newest[-1].step <= mark.step:
                self._broken[mark.name] = mark.value
        self.refresh()

    def paint(self, width: int) -> Content:
        """Draw labels above values."""
        tiles = self._tiles()
        room = max(1, width // max(1, len(tiles)))
        top, bottom = Content(""), Content("")
        for label, value, style in tiles:
            label_room, value_room = room - cell_len(label), room - cell_len(value)
            top = line(top, (label, "$label"), " " * max(1, label_room))
            bottom = line(bottom, (value, f"bold {style}"), " " * max(1, value_room))
        return lines(top.truncate(width), bottom.truncate(width))

    def _tiles(self) -> list[Tile]:
        view = self._view
        if view is None:
            return []
        words = self.words
        return [
            self._tile(words("tile.train"), "loss", view.loss, figures.loss),
            (words("tile.validation"), figures.loss(view.eval_loss), "$caution"),
            self._tile(words("tile.gradient"), "grad_norm", view.grad_norm, figures.short),
            self._tile(words("tile.rate"), "learning_rate", view.learning_rate, figures.tiny),
            (words("tile.speed"), figures.rate(view.tokens_per_second), "$value"),
        ]

    def _tile(
        self, label: str, name: str, value: float | None, show: Callable[[float], str]
    ) -> Tile:
        value = self._broken.get(name, value)
        if value is None:
            return label, "–", "$label"
        return label, show(value), "$value" if math.isfinite(value) else "$trouble"
