"""A list from which one thing is chosen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.widget import Widget

from tutor_agent.tui.paint import line, lines
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from textual.events import Click

    from tutor_agent.tui.wording import Words


class Entry:
    """One row: what it stands for, and how it is drawn."""

    def __init__(self, key: str, *parts: Content) -> None:
        self.key = key
        self.parts = parts

    def paint(self, words: Words, width: int) -> Content:
        """Return the row in at most `width` cells."""
        return line(*self.parts).truncate(width, ellipsis=True)


class PickList(Piece, can_focus=True):
    """Rows, one of them selected; arrows move, ⏎ or a click picks."""

    DEFAULT_CSS = """
    PickList { height: auto; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", show=False),
        Binding("down,j", "move(1)", show=False),
        Binding("enter", "pick", show=False),
    ]

    selected: reactive[int] = reactive(0)

    @dataclass
    class Picked(Message):
        """A row was chosen."""

        key: str

    def __init__(self, entries: tuple[Entry, ...] = (), *, empty: str = "") -> None:
        super().__init__()
        self._entries = entries
        self._empty = empty

    def fill(self, entries: tuple[Entry, ...]) -> None:
        """Show other rows; the selected one stays selected when it is still there."""
        key = self._entries[self.selected].key if self.selected < len(self._entries) else None
        self._entries = entries
        keys = [entry.key for entry in entries]
        self.selected = keys.index(key) if key in keys else 0
        self.refresh(layout=True)

    def paint(self, width: int) -> Content:
        """Draw the rows."""
        if not self._entries:
            return Content.styled(self.words(self._empty), "$label") if self._empty else Content("")
        rows: list[Content] = []
        for number, entry in enumerate(self._entries):
            chosen = number == self.selected
            sign = ("❯ ", "$primary") if chosen else ("  ", "")
            rows.append(line(sign, entry.paint(self.words, max(1, width - 2))))
        return lines(*rows)

    def action_move(self, by: int) -> None:
        """Select another row."""
        if self._entries:
            self.selected = (self.selected + by) % len(self._entries)
            self._reveal()

    def _reveal(self) -> None:
        if isinstance(self.parent, Widget):
            row = Region(0, self.virtual_region.y + self.selected, 1, 1)
            self.parent.scroll_to_region(row, animate=False)

    def action_pick(self) -> None:
        """Choose the selected row."""
        if self._entries:
            self.post_message(self.Picked(self._entries[self.selected].key))

    def on_click(self, event: Click) -> None:
        """Choose the row under the pointer."""
        event.stop()
        if event.y < len(self._entries):
            self.selected = event.y
            self.action_pick()
