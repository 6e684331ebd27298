"""A page over the conversation that is only read."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tutor_agent.tui.widgets.piece import words_of

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tutor_agent.tui.widgets.piece import Piece


class PaperScreen(ModalScreen[None]):
    """Shows one drawing, scrollable; Esc goes back."""

    DEFAULT_CSS = """
    PaperScreen { align: center middle; background: $background 60%; }
    PaperScreen > #paper {
        width: 90%; max-width: 92; height: auto; max-height: 90%; padding: 1 2;
        border: round $primary; border-title-color: $primary; border-title-style: bold;
        border-subtitle-color: $label; background: $background; scrollbar-size: 1 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,enter,f1", "dismiss", show=False),
    ]

    def __init__(self, title: str, piece: Piece) -> None:
        super().__init__()
        self._title = title
        self._piece = piece

    def compose(self) -> ComposeResult:
        """The drawing in a scrollable frame."""
        with VerticalScroll(id="paper"):
            yield self._piece

    def on_mount(self) -> None:
        """Write the edges."""
        words = words_of(self._piece)
        frame = self.query_one("#paper")
        frame.border_title = Content(words(self._title))
        frame.border_subtitle = Content(words("paper.back"))
        frame.focus()
