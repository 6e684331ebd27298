"""The list of completions above the prompt."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.message import Message
from textual.reactive import reactive

from tutor_agent.tui.paint import line, lines, pad
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from textual.content import Content
    from textual.events import Click
    from textual.geometry import Size

SHOWN = 8


@dataclass(frozen=True)
class Item:
    """One completion."""

    insert: str
    """What takes the place of the word that was typed."""
    label: str
    """What is shown."""
    hint: str = ""
    """What it does."""
    final: bool = True
    """Whether it can be sent as it is."""


class Popup(Piece):
    """Shows some completions and which one is selected."""

    DEFAULT_CSS = """
    Popup {
        layer: above; dock: bottom; width: auto; min-width: 64; max-width: 100%; height: auto;
        display: none;
        background: $panel; padding: 0 1; border-left: outer $primary;
    }
    """

    selected: reactive[int] = reactive(0)

    @dataclass
    class Clicked(Message):
        """A completion was clicked."""

        item: Item

    def __init__(self) -> None:
        super().__init__()
        self.items: tuple[Item, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether there is something to choose."""
        return bool(self.items)

    @property
    def current(self) -> Item:
        """The selected completion."""
        return self.items[self.selected]

    def offer(self, items: tuple[Item, ...]) -> None:
        """Show `items`; none closes the list."""
        if items != self.items:
            self.items = items
            self.selected = 0
        self.display = bool(items)
        self.refresh(layout=True)

    def move(self, by: int) -> None:
        """Select the next or the previous one."""
        self.selected = (self.selected + by) % len(self.items)

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Take what the longest row needs."""
        return max((row.cell_length for row in self._rows()), default=1)

    def paint(self, width: int) -> Content:
        """Draw a window of rows around the selected one."""
        return lines(*(row.truncate(width, ellipsis=True) for row in self._rows()))

    def on_click(self, event: Click) -> None:
        """Choose the row under the pointer."""
        event.stop()
        row = event.y + self._first()
        if row < len(self.items):
            self.post_message(self.Clicked(self.items[row]))

    def _first(self) -> int:
        return max(0, min(self.selected - SHOWN // 2, len(self.items) - SHOWN))

    def _rows(self) -> list[Content]:
        column = max((cell_len(item.label) for item in self.items), default=0)
        first = self._first()
        rows: list[Content] = []
        for number, item in enumerate(self.items[first : first + SHOWN], first):
            chosen = number == self.selected
            label = pad(item.label, column)
            rows.append(
                line(
                    ("❯ " if chosen else "  ", "$primary"),
                    (label, "bold $primary" if chosen else "$value"),
                    (f"  {item.hint}", "$value" if chosen else "$label"),
                )
            )
        return rows
