"""A page over the conversation on which one thing is chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen

from tutor_agent.tui.widgets.pick_list import Entry, PickList
from tutor_agent.tui.widgets.piece import words_of

if TYPE_CHECKING:
    from textual.app import ComposeResult


class PickScreen(ModalScreen[str | None]):
    """Returns the key of the chosen row, None for Esc."""

    DEFAULT_CSS = """
    PickScreen { align: center middle; background: $background 60%; }
    PickScreen > #pick {
        width: 90%; max-width: 92; height: auto; max-height: 80%; padding: 1 2;
        border: round $primary; border-title-color: $primary; border-title-style: bold;
        border-subtitle-color: $label; background: $background; scrollbar-size: 1 1;
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "cancel", show=False)]

    def __init__(self, title: str, entries: tuple[Entry, ...], *, empty: str) -> None:
        super().__init__()
        self._title = title
        self._list = PickList(entries, empty=empty)

    def compose(self) -> ComposeResult:
        """The rows in a frame."""
        with VerticalScroll(id="pick", can_focus=False):
            yield self._list

    def on_mount(self) -> None:
        """Write the edges."""
        words = words_of(self._list)
        frame = self.query_one("#pick")
        frame.border_title = Content(words(self._title))
        frame.border_subtitle = Content(words("pick.keys"))
        self._list.focus()

    def action_cancel(self) -> None:
        """Choose nothing."""
        self.dismiss(None)

    @on(PickList.Picked)
    def _picked(self, event: PickList.Picked) -> None:
        self.dismiss(event.key)
