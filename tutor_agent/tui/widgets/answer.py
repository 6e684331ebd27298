"""An answer that arrives piece by piece."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical

from tutor_agent.tui.markdown import frozen_prefix, paint_markdown
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from textual.content import Content
    from textual.timer import Timer

FLUSH_SECONDS = 0.12
_FREEZE_ABOVE = 1200


class MarkdownPart(Piece):
    """A run of Markdown blocks."""

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self.source = source

    def paint(self, width: int) -> Content:
        """Draw the blocks."""
        return paint_markdown(self.source, width)


class Answer(Vertical):
    """What the tutor says.

    Deltas are gathered and drawn a few times a second. Finished blocks of a long answer move into
    a part of their own, which is not drawn again, so the cost of a delta does not grow.
    """

    DEFAULT_CSS = """
    Answer { height: auto; margin-bottom: 1; }
    Answer > MarkdownPart.-frozen { margin-bottom: 1; }
    """

    def __init__(self, source: str = "") -> None:
        super().__init__()
        self._tail = MarkdownPart(source)
        self._waiting: list[str] = []
        self._frozen = ""
        self._timer: Timer | None = None

    @property
    def source(self) -> str:
        """Everything said so far."""
        return self._frozen + self._tail.source + "".join(self._waiting)

    def compose(self) -> list[Piece]:
        """Begin with the part that grows."""
        return [self._tail]

    def say(self, delta: str) -> None:
        """Add words; they show at the next flush."""
        self._waiting.append(delta)
        if self._timer is None:
            self._timer = self.set_timer(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        """Draw what has arrived."""
        self._timer = None
        if not self._waiting:
            return
        source = self._tail.source + "".join(self._waiting)
        self._waiting.clear()
        cut = frozen_prefix(source) if len(source) > _FREEZE_ABOVE else 0
        if cut:
            part = MarkdownPart(source[:cut])
            part.add_class("-frozen")
            self._frozen += source[:cut]
            self.mount(part, before=self._tail)
        self._tail.source = source[cut:]
        self._tail.refresh(layout=True)
