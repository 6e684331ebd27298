"""The first thing a person sees."""

from __future__ import annotations

from textual.content import Content

from tutor_agent.tui.paint import line, lines, wrap
from tutor_agent.tui.widgets.piece import Piece

_EXAMPLES = ("welcome.example_plan", "welcome.example_paste", "welcome.example_ask")


class Welcome(Piece):
    """A greeting, and three things that can be said."""

    DEFAULT_CSS = """
    Welcome { margin-bottom: 1; }
    """

    def paint(self, width: int) -> Content:
        """Draw greeting and examples."""
        words = self.words
        parts = [
            line(("◆ ", "bold $primary"), (words("welcome.title"), "bold $value")),
            *wrap(Content.styled(words("welcome.body"), "$detail"), width),
            Content(""),
        ]
        for key in _EXAMPLES:
            pieces = wrap(Content.styled(words(key), "$value"), max(8, width - 2))
            parts += [line(("› " if n == 0 else "  ", "$primary"), p) for n, p in enumerate(pieces)]
        return lines(*parts)
