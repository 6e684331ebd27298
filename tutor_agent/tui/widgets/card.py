"""A bordered card that wants a decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message

from tutor_agent.tui.widgets.choices import Choice, Choices
from tutor_agent.tui.widgets.piece import Piece, words_of

if TYPE_CHECKING:
    from textual.app import ComposeResult
    from textual.events import Key

    from tutor_agent.tui.wording import Words


class CardBody(Piece):
    """The drawing inside a card."""

    def __init__(self, card: Card) -> None:
        super().__init__()
        self._card = card

    def paint(self, width: int) -> Content:
        """Ask the card."""
        return self._card.paint(self.words, width)


class Card(Vertical, can_focus=True):
    """Title on the top edge, identity on the bottom edge, one filled button.

    With the focus on it, single keys choose, arrows select, Esc goes back to the prompt, and any
    other character is handed to the prompt, so that typing never gets lost.
    """

    DEFAULT_CSS = """
    Card {
        height: auto; padding: 0 1; margin-bottom: 1; background: transparent;
        border: round $line; border-title-color: $primary; border-title-style: bold;
        border-subtitle-color: $label;
    }
    Card:focus { border: round $primary; }
    Card.-trouble { border: round $trouble 55%; border-title-color: $trouble; }
    Card.-trouble:focus { border: round $trouble; }
    Card.-closed { border: round $line; border-title-color: $label; }
    """

    trouble = False
    """Whether it is about something that went wrong."""

    @dataclass
    class Chosen(Message):
        """One of its choices was made."""

        card: Card
        action: str

    @dataclass
    class Typed(Message):
        """A character that means nothing here: it belongs to the prompt."""

        character: str

    class Left(Message):
        """The person wants to go back to the prompt."""

    def __init__(self) -> None:
        super().__init__(classes="-trouble" if self.trouble else "")
        self.open = bool(self.choices())
        self._verdict = ""

    def compose(self) -> ComposeResult:
        """The drawing and its buttons."""
        yield CardBody(self)
        if self.open:
            yield Choices(self.choices(), accent="$trouble" if self.trouble else "$primary")

    def on_mount(self) -> None:
        """Write the edges."""
        self.reword()

    def paint(self, words: Words, width: int) -> Content:
        """Return the drawing inside the borders."""
        return Content("")

    def title(self, words: Words) -> str:
        """Return the words on the top edge."""
        return ""

    def identity(self, words: Words) -> str:
        """Return the words on the bottom edge."""
        return ""

    def choices(self) -> tuple[Choice, ...]:
        """Return what can be chosen, the primary one first."""
        return ()

    def reword(self) -> None:
        """Write the edges in the language shown now."""
        words = words_of(self)
        self.border_title = Content(self.title(words))
        subtitle = words(self._verdict) if self._verdict else self.identity(words)
        self.border_subtitle = Content(subtitle)

    def close(self, verdict: str = "") -> None:
        """Take the buttons away; `verdict` is the key of the words that say what was decided."""
        if not self.open:
            return
        self.open = False
        self._verdict = verdict
        self.can_focus = False
        self.add_class("-closed")
        self.query(Choices).remove()
        self.reword()
        self.post_message(self.Left())

    def choose(self, key: str) -> bool:
        """Make the choice of a key; False when there is none."""
        choice = self.query_one(Choices).by_key(key) if self.open else None
        if choice is None:
            return False
        self.post_message(self.Chosen(self, choice.action))
        return True

    @on(Choices.Made)
    def _made(self, event: Choices.Made) -> None:
        event.stop()
        self.post_message(self.Chosen(self, event.choice.action))

    def on_key(self, event: Key) -> None:
        """Choose, select, leave, or hand the character on."""
        if not self.open or not self.has_focus:
            return
        choice = self.query_one(Choices).by_key(event.key, event.character)
        if choice is not None:
            self.post_message(self.Chosen(self, choice.action))
        elif event.key in {"left", "right"}:
            self.query_one(Choices).move(1 if event.key == "right" else -1)
        elif event.key == "escape":
            self.post_message(self.Left())
        elif event.is_printable and event.character:
            self.post_message(self.Typed(event.character))
        else:
            return
        event.stop()
        event.prevent_default()
