"""Runs in a few columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.paint import line, lines, pad
from tutor_agent.tui.widgets.pick_list import Entry
from tutor_agent.tui.widgets.piece import Piece
from tutor_agent.tui.widgets.run_header import state_mark

if TYPE_CHECKING:
    from tutor_agent.runs.view import RunView
    from tutor_agent.tui.wording import Words

_MOST = 8


class RunEntry(Entry):
    """One run as a row."""

    def __init__(self, view: RunView) -> None:
        super().__init__(view.name)
        self.view = view

    def paint(self, words: Words, width: int) -> Content:
        """Draw name, state, steps, held-out loss, parent."""
        return run_row(self.view, words, width)


class RunsTable(Piece):
    """The newest runs, without a choice."""

    DEFAULT_CSS = """
    RunsTable { margin-bottom: 1; padding-left: 2; }
    """

    def __init__(self, views: tuple[RunView, ...]) -> None:
        super().__init__()
        self.views = views

    def paint(self, width: int) -> Content:
        """Draw one row a run."""
        return lines(*(run_row(view, self.words, width) for view in self.views[:_MOST]))


def run_row(view: RunView, words: Words, width: int) -> Content:
    """Return a run in one row."""
    mark = state_mark(view, words)
    room = min(24, max(10, width // 3))
    name = Content(view.name).truncate(room, ellipsis=True).plain
    total = f"/{view.total_steps}" if view.total_steps else ""
    head = line((pad(name, room + 1), "bold $value"), mark.pad_right(max(1, 13 - mark.cell_length)))
    steps = pad(f"{view.step}{total}", 11)
    before, after = view.held_out_before, view.held_out_after
    if before is not None and after is not None:
        result = f"{figures.loss(before)} → {figures.loss(after)}"
    else:
        result = figures.loss(view.eval_loss if view.eval_loss is not None else view.loss)
    parent = f"  ↳ {view.parent}" if view.parent else ""
    row = line(head, (steps, "$detail"), (result, "$value"), (parent, "$label"))
    return row.truncate(width, ellipsis=True)
