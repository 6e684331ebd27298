"""A row of buttons, each with its key; it wraps where there is no room."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from tutor_agent.tui.paint import line, lines
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from textual.events import Click

_SIGNS = {"enter": "⏎"}
_GAP = 2


@dataclass(frozen=True)
class Choice:
    """Something that can be chosen."""

    key: str
    """The key that chooses it, as Textual names it."""
    action: str
    """What the card's owner hears."""
    label: str
    """Key of its words."""


@dataclass(frozen=True)
class Placed:
    """A button and where it stands."""

    choice: Choice
    words: str
    row: int
    column: int

    def covers(self, row: int, column: int) -> bool:
        """Return whether the button is at that cell."""
        return row == self.row and 0 <= column - self.column < cell_len(self.words)


class Choices(Piece):
    """The buttons of a card; the selected one is filled."""

    DEFAULT_CSS = """
    Choices { margin-top: 1; }
    """

    selected: reactive[int] = reactive(0)

    @dataclass
    class Made(Message):
        """A choice was made."""

        choice: Choice

    def __init__(self, choices: tuple[Choice, ...], *, accent: str) -> None:
        super().__init__()
        self._choices = choices
        self._accent = accent

    def move(self, by: int) -> None:
        """Select the next or the previous one."""
        self.selected = (self.selected + by) % len(self._choices)

    def by_key(self, *keys: str | None) -> Choice | None:
        """Return the choice that one of `keys` makes; ⏎ takes the selected one."""
        for choice in self._choices:
            if choice.key in keys and choice.key != "enter":
                return choice
        return self._choices[self.selected] if "enter" in keys else None

    def paint(self, width: int) -> Content:
        """Draw the buttons row by row."""
        rows: list[Content] = []
        for number, button in enumerate(self._placed(width)):
            filled = f"bold $on-accent on {self._accent}"
            style = filled if number == self.selected else "$value on $button"
            if button.row == len(rows):
                rows.append(Content.styled(button.words, style))
            else:
                rows[-1] = line(rows[-1], " " * _GAP, (button.words, style))
        return lines(*rows)

    def on_click(self, event: Click) -> None:
        """Choose the button under the pointer."""
        event.stop()
        for button in self._placed(self.size.width):
            if button.covers(event.y, event.x):
                self.post_message(self.Made(button.choice))

    def _placed(self, width: int) -> list[Placed]:
        placed: list[Placed] = []
        row = column = 0
        for choice in self._choices:
            words = f" {_SIGNS.get(choice.key, choice.key)} {self.words(choice.label)} "
            if column and column + cell_len(words) > width:
                row, column = row + 1, 0
            placed.append(Placed(choice, words, row, column))
            column += cell_len(words) + _GAP
        return placed
