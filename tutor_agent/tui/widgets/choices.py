"""A row of buttons, each with its key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive

from tutor_agent.tui.paint import line
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.content import Content
    from textual.events import Click
    from textual.geometry import Size

KEY_SIGNS = {"enter": "⏎", "escape": "esc"}


@dataclass(frozen=True)
class Choice:
    """Something that can be chosen."""

    key: str
    """The key that chooses it, as Textual names it."""
    action: str
    """What the card's owner hears."""
    label: str
    """Key of its words."""


class ChoiceButton(Piece):
    """One button."""

    DEFAULT_CSS = """
    ChoiceButton { width: auto; height: 1; margin-right: 2; background: $button; color: $value; }
    ChoiceButton.-primary { background: $primary; color: $on-accent; text-style: bold; }
    ChoiceButton:hover { text-style: underline; }
    ChoiceButton.-selected { text-style: bold underline; }
    """

    @dataclass
    class Pressed(Message):
        """The button was clicked."""

        choice: Choice

    def __init__(self, choice: Choice, *, primary: bool) -> None:
        super().__init__(classes="-primary" if primary else "")
        self.choice = choice

    def paint(self, width: int) -> Content:
        """Draw key and label."""
        sign = KEY_SIGNS.get(self.choice.key, self.choice.key)
        return line(f" {sign} {self.words(self.choice.label)} ")

    def get_content_width(self, container: Size, viewport: Size) -> int:
        """Take as much as the label needs."""
        return self.paint(0).cell_length

    def on_click(self, event: Click) -> None:
        """Choose it."""
        event.stop()
        self.post_message(self.Pressed(self.choice))


class Choices(Horizontal):
    """The buttons of a card; the first is the primary one."""

    DEFAULT_CSS = """
    Choices { height: 1; margin-top: 1; }
    """

    selected: reactive[int] = reactive(0)

    @dataclass
    class Made(Message):
        """A choice was made."""

        choice: Choice

    def __init__(self, choices: tuple[Choice, ...]) -> None:
        super().__init__()
        self.choices = choices

    def compose(self) -> ComposeResult:
        """One button a choice."""
        for number, choice in enumerate(self.choices):
            yield ChoiceButton(choice, primary=number == 0)

    def watch_selected(self, selected: int) -> None:
        """Show which one ⏎ would take."""
        for number, button in enumerate(self.query(ChoiceButton)):
            button.set_class(number == selected and selected > 0, "-selected")

    def move(self, by: int) -> None:
        """Select the next or the previous one."""
        self.selected = (self.selected + by) % len(self.choices)

    def by_key(self, *keys: str | None) -> Choice | None:
        """Return the choice that one of `keys` makes; ⏎ takes the selected one."""
        for choice in self.choices:
            if choice.key in keys and choice.key != "enter":
                return choice
        return self.choices[self.selected] if "enter" in keys else None

    @on(ChoiceButton.Pressed)
    def _pressed(self, event: ChoiceButton.Pressed) -> None:
        event.stop()
        self.post_message(self.Made(event.choice))
