"""Where the person types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual import on
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Static, TextArea

from tutor_agent.tui.widgets.piece import words_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.app import ComposeResult
    from textual.events import Key

    from tutor_agent.tui.history import History
    from tutor_agent.tui.widgets.popup import Item, Popup

_NEWLINE = {"shift+enter", "alt+enter", "ctrl+j", "ctrl+enter"}
_SCROLL = {"pageup": -1, "pagedown": 1}


class PromptArea(TextArea):
    """A text area in which ⏎ sends and the arrows walk through the history at its edges."""

    DEFAULT_CSS = """
    PromptArea {
        height: auto; max-height: 8; border: none; padding: 0; background: transparent;
        color: $value; scrollbar-size: 1 1;
    }
    PromptArea:focus { border: none; background-tint: transparent; }
    PromptArea > .text-area--cursor-line { background: transparent; }
    PromptArea > .text-area--placeholder { color: $label; }
    """

    @dataclass
    class Pressed(Message):
        """A key that the prompt has a meaning for."""

        key: str

    def __init__(self) -> None:
        super().__init__("", soft_wrap=True, show_line_numbers=False, tab_behavior="focus")
        self.cursor_blink = False  # a blinking cell moves the candidate window of an input method
        self.wants: Callable[[str], bool] = lambda key: False

    async def _on_key(self, event: Key) -> None:
        if event.key in _NEWLINE:
            self.insert("\n")
        elif self.wants(event.key):
            self.post_message(self.Pressed(event.key))
        else:
            return
        event.stop()
        event.prevent_default()


class Prompt(Horizontal):
    """The box with the sign, the text, its history and its completions."""

    DEFAULT_CSS = """
    Prompt { height: auto; border: round $line; margin: 0 1; padding: 0 1; background: $background; }
    Prompt:focus-within { border: round $primary; }
    Prompt > #prompt-sign { width: 2; color: $primary; }
    """

    @dataclass
    class Submitted(Message):
        """The person sends this."""

        words: str

    @dataclass
    class Scrolled(Message):
        """The person wants to read further up or down."""

        pages: int

    class Interrupted(Message):
        """The person wants the tutor to stop."""

    class Left(Message):
        """The person pressed ^c with nothing typed."""

    def __init__(
        self, history: History, popup: Popup, complete: Callable[[str, int], tuple[Item, ...]]
    ) -> None:
        super().__init__()
        self._history = history
        self._popup = popup
        self._complete = complete
        self._silent = False

    def compose(self) -> ComposeResult:
        """The sign and the text."""
        yield Static("❯", id="prompt-sign")
        yield PromptArea()

    def on_mount(self) -> None:
        """Say which keys have a meaning now."""
        self.area.wants = self._wants
        self.reword()

    @property
    def area(self) -> PromptArea:
        """The text area."""
        return self.query_one(PromptArea)

    @property
    def words(self) -> str:
        """What has been typed."""
        return self.area.text

    def reword(self) -> None:
        """Show the placeholder in the language shown now."""
        self.area.placeholder = words_of(self)("prompt.placeholder")

    def write(self, words: str) -> None:
        """Put `words` in place of what was typed, the cursor at the end."""
        self._silent = True
        self.area.text = words
        self.area.move_cursor(self.area.document.end)
        self._popup.offer(())

    def take(self, item: Item) -> None:
        """Take a completion: it replaces the word before the cursor."""
        row, column = self.area.cursor_location
        typed = self.area.document.get_line(row)[:column]
        start = 0 if typed.startswith("/") else typed.rfind("@")
        tail = "" if item.final and item.insert.startswith("/") else " "
        self._silent = True
        self.area.replace(item.insert + tail, (row, max(0, start)), (row, column))
        self._popup.offer(())

    def _wants(self, key: str) -> bool:
        area = self.area
        if self._popup.is_open and key in {"up", "down", "tab", "enter", "escape"}:
            return True
        row = area.cursor_location[0]
        if key == "ctrl+c":
            return not area.selected_text
        if key == "up":
            return row == 0 and area.get_cursor_up_location()[0] == 0 and self._at_top_line()
        if key == "down":
            return row == area.document.line_count - 1 and self._at_bottom_line()
        return key in {"enter", "escape", *_SCROLL}

    def _at_top_line(self) -> bool:
        return self.area.wrapped_document.location_to_offset(self.area.cursor_location).y == 0

    def _at_bottom_line(self) -> bool:
        offset = self.area.wrapped_document.location_to_offset(self.area.cursor_location)
        return offset.y >= self.area.wrapped_document.height - 1

    @on(PromptArea.Pressed)
    def _pressed(self, event: PromptArea.Pressed) -> None:
        event.stop()
        key = event.key
        if self._popup.is_open and key in {"up", "down", "tab", "enter", "escape"}:
            self._popup_key(key)
        elif key == "enter":
            self._submit()
        elif key == "escape":
            self.post_message(self.Interrupted())
        elif key == "ctrl+c":
            self._break_off()
        elif key in _SCROLL:
            self.post_message(self.Scrolled(_SCROLL[key]))
        else:
            older = self._history.older(self.words) if key == "up" else self._history.newer()
            if older is not None:
                self.write(older)

    def _break_off(self) -> None:
        """Throw away what was typed; with nothing typed, the person wants to stop or to leave."""
        if self.words:
            self.write("")
        else:
            self.post_message(self.Left())

    def _popup_key(self, key: str) -> None:
        if key in {"up", "down"}:
            self._popup.move(1 if key == "down" else -1)
        elif key == "escape":
            self._popup.offer(())
        else:
            item = self._popup.current
            complete = self.words.strip() == item.insert
            self.take(item)
            if key == "enter" and item.insert.startswith("/") and (item.final or complete):
                self._submit()

    def _submit(self) -> None:
        words = self.words.strip("\n")
        if words.strip():
            self._history.add(words)
        self.write("")
        self.post_message(self.Submitted(words))

    @on(TextArea.Changed)
    def _changed(self, event: TextArea.Changed) -> None:
        event.stop()
        if self._silent:
            self._silent = False
            return
        row, column = self.area.cursor_location
        typed = self.area.document.get_line(row)[:column]
        only_line = self.area.document.line_count == 1
        fits = (typed.startswith("/") and only_line) or "@" in typed
        self._popup.offer(self._complete(typed, row) if fits else ())
