"""One line a tool: `✓ 看硬件  4×A100-80G`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from textual.content import Content

from tutor_agent.tui.paint import line, lines, wrap
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from tutor_agent.core.text import Text

State = Literal["working", "done", "failed", "stopped"]
_SIGNS = {
    "working": ("○ ", "$primary"),
    "done": ("✓ ", "$done"),
    "failed": ("✗ ", "$trouble"),
    "stopped": ("■ ", "$label"),
}
_MAX_LINES = 3


class ToolLine(Piece):
    """A tool at work, then what came of it."""

    DEFAULT_CSS = """
    ToolLine { margin-bottom: 0; }
    """

    def __init__(self, title: Text) -> None:
        super().__init__()
        self.title = title
        self.state: State = "working"
        self.detail: Text | None = None
        self.brief = False

    def update(self, detail: Text, state: State = "working") -> None:
        """Say how far it is, or how it ended."""
        self.detail, self.state = detail, state
        self.refresh(layout=True)

    def shorten(self, *, brief: bool) -> None:
        """Leave the detail out while a drawing below says it all."""
        self.brief = brief
        self.refresh(layout=True)

    def stop(self) -> None:
        """Show that it was cut short."""
        if self.state == "working":
            self.state = "stopped"
            self.refresh()

    def paint(self, width: int) -> Content:
        """Draw sign, title and detail; a long detail keeps its own column."""
        title = self.words.of(self.title)
        head = line(_SIGNS[self.state], (title, "$detail"), "  ")
        if self.detail is None or self.brief:
            return head
        style = "$trouble" if self.state == "failed" else "$label"
        indent = head.cell_length if head.cell_length < width // 2 else 2
        pieces = wrap(Content.styled(self.words.of(self.detail), style), max(8, width - indent))
        if len(pieces) > _MAX_LINES:
            pieces = [*pieces[: _MAX_LINES - 1], pieces[_MAX_LINES - 1].append(" …")]
        if indent == 2:
            return lines(head, *(line("  ", piece) for piece in pieces))
        return lines(line(head, pieces[0]), *(line(" " * indent, piece) for piece in pieces[1:]))
