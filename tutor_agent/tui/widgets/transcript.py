"""The conversation: everything said and done, the newest at the bottom."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING

from textual.containers import VerticalScroll

from tutor_agent.tui.widgets.answer import Answer
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.facts_view import FactsView
from tutor_agent.tui.widgets.lines import Notice, Remark, UserLine
from tutor_agent.tui.widgets.rows_view import RowsView
from tutor_agent.tui.widgets.runs_table import RunsTable
from tutor_agent.tui.widgets.tool_line import ToolLine

if TYPE_CHECKING:
    from textual.widget import Widget

    from tutor_agent.core.text import Text

_KEPT = 240


class Transcript(VerticalScroll, can_focus=False):
    """Widgets in the order in which things happened; the oldest are dropped from the screen."""

    DEFAULT_CSS = """
    Transcript { scrollbar-size: 1 1; }
    Transcript > .-last-tool { margin-bottom: 1; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._answer: Answer | None = None
        self._tools: dict[str, ToolLine] = {}

    def watch_virtual_size(self) -> None:
        """Look again whether everything fits."""
        self._stick()

    def on_resize(self) -> None:
        """Look again whether everything fits."""
        self._stick()

    def _stick(self) -> None:
        """Begin at the top; stay at the bottom, until the person scrolls, once there is too much."""
        overflows = 0 < self.size.height < self.virtual_size.height
        if overflows != self.is_anchored:
            self.anchor(overflows)

    def append(self, widget: Widget, *, below: ToolLine | None = None) -> None:
        """Add a widget at the end, or right below the tool line that it belongs to."""
        self.end_answer()
        self.mount(widget, after=below)
        self.tighten()
        surplus = len(self.children) - _KEPT
        if surplus > 0:
            self.remove_children(list(self.children)[:surplus])

    def add_user(self, said: str) -> None:
        """Show what the person said, and go to the bottom."""
        self.append(UserLine(said))
        self.scroll_end(animate=False)

    def remark(self, text: Text, *, sign: str = "●", style: str = "$label") -> None:
        """Show a sentence that nobody said."""
        self.append(Remark(text, sign=sign, style=style))

    def begin_tool(self, call: str, title: Text) -> None:
        """Show that a tool works."""
        tool = ToolLine(title)
        self._tools[call] = tool
        self.append(tool)

    def progress(self, text: Text) -> None:
        """Show how far the working tool is."""
        for tool in self._tools.values():
            if tool.state == "working":
                tool.update(text)

    def end_tool(self, call: str, summary: Text, *, ok: bool) -> ToolLine | None:
        """Show how a tool ended, and return its line."""
        tool = self._tools.pop(call, None)
        if tool is not None:
            tool.update(summary, "done" if ok else "failed")
        return tool

    def say(self, delta: str) -> None:
        """Add to the answer; begin one if none is open."""
        if self._answer is None:
            if not delta.strip():
                return
            answer = Answer()
            self.append(answer)
            self._answer = answer
        self._answer.say(delta)

    def end_answer(self) -> None:
        """What is said next is a new answer."""
        if self._answer is not None:
            self._answer.flush()
            self._answer = None

    def end_turn(self) -> None:
        """Close what a turn left open."""
        self.end_answer()
        for tool in self._tools.values():
            tool.stop()
        self._tools.clear()

    def interrupted(self) -> None:
        """Show that the person cut the answer short."""
        self.append(Notice("chat.interrupted"))

    def tighten(self) -> None:
        """Keep a tool line with the next one and with its own rows; leave a blank row after the rest."""
        kept = [child for child in self.children if child.display]
        for child, after in zip_longest(kept, kept[1:]):
            if isinstance(child, ToolLine):
                follows = isinstance(after, ToolLine | FactsView | RowsView | RunsTable)
                child.set_class(not follows, "-last-tool")

    def open_cards(self) -> list[Card]:
        """Return the cards that still wait for a decision, the newest first."""
        return [card for card in reversed(list(self.query(Card))) if card.open]
