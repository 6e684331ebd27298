"""The plain lines of a conversation: the person's own words, and short remarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.tui.paint import line, lines, wrap
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from tutor_agent.core.text import Text

_MAX_PASTED_LINES = 12


class UserLine(Piece):
    """What the person said, on a tinted bar; a long paste shows its first and last lines."""

    DEFAULT_CSS = """
    UserLine { background: $tint; border-left: outer $primary; padding: 0 1; margin-bottom: 1; color: $value; }
    """

    def __init__(self, said: str) -> None:
        super().__init__()
        self.said = said

    def paint(self, width: int) -> Content:
        """Draw the words as they were typed."""
        rows = self.said.expandtabs(4).splitlines()
        if len(rows) > _MAX_PASTED_LINES:
            hidden = len(rows) - 8
            more = self.words("chat.more_lines", count=hidden)
            head = [part for row in rows[:5] for part in wrap(Content(row), width)]
            tail = [part for row in rows[-3:] for part in wrap(Content(row), width)]
            return lines(*head, Content.styled(more, "$label"), *tail)
        return lines(*(part for row in rows for part in wrap(Content(row), width)))


class Remark(Piece):
    """A sentence about the conversation itself, or about a run."""

    DEFAULT_CSS = """
    Remark { margin-bottom: 1; }
    """

    def __init__(self, text: Text, *, sign: str = "●", style: str = "$label") -> None:
        super().__init__()
        self.text = text
        self.sign = sign
        self.style = style

    def paint(self, width: int) -> Content:
        """Draw the sign and the sentence."""
        parts = wrap(Content.styled(self.words.of(self.text), "$detail"), max(8, width - 2))
        signs = [(f"{self.sign} ", self.style), *[("  ", "")] * (len(parts) - 1)]
        return lines(*(line(sign, part) for sign, part in zip(signs, parts, strict=True)))


class Notice(Piece):
    """A short remark of the app itself, by the key of its words."""

    DEFAULT_CSS = """
    Notice { margin-bottom: 1; }
    """

    def __init__(self, key: str, **values: object) -> None:
        super().__init__()
        self._key = key
        self._values = values

    def paint(self, width: int) -> Content:
        """Draw the remark."""
        said = self.words(self._key, **self._values)
        return lines(*wrap(Content.styled(said, "$label"), width))
