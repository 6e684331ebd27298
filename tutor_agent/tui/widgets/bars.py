"""The one-line bars: top, tabs, run strip, queue, hints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.message import Message
from textual.reactive import reactive

from tutor_agent.tui import figures
from tutor_agent.tui.paint import line, sparkline, spread
from tutor_agent.tui.widgets.facts_view import machine_name
from tutor_agent.tui.widgets.piece import Piece
from tutor_agent.tui.widgets.run_header import STATE_SIGNS

if TYPE_CHECKING:
    from textual.events import Click

    from tutor_agent.core.facts import Machine
    from tutor_agent.runs.view import RunView

TABS = ("chat", "run", "plan", "runs")
_NARROW = 100
_TROUBLE = frozenset({"halted", "failed", "lost"})


class TopBar(Piece):
    """Name, session, who answers, machine, language."""

    DEFAULT_CSS = """
    TopBar { height: 1; background: $surface; }
    """

    title: reactive[str] = reactive("")
    brain: reactive[str] = reactive("builtin")
    busy: reactive[bool] = reactive(default=False)

    def __init__(self) -> None:
        super().__init__()
        self._machine: Machine | None = None

    def show_machine(self, machine: Machine) -> None:
        """Name the machine."""
        self._machine = machine
        self.refresh()

    def paint(self, width: int) -> Content:
        """Draw both ends."""
        words = self.words
        narrow = width < _NARROW
        key = "top.builtin_short" if narrow else "top.builtin"
        brain = words(key) if self.brain == "builtin" else self.brain
        separator = ("  │  ", "$line")
        machine = machine_name(self._machine) if self._machine else "…"
        zh = words.language == "zh"
        right = line(
            ("● ", "$caution" if self.busy else "$done"),
            (brain, "$detail"),
            separator,
            (machine, "$detail"),
            separator,
            ("中", "bold $value" if zh else "$label"),
            ("/", "$faint"),
            ("EN ", "$label" if zh else "bold $value"),
        )
        left = line((" ◆ ", "bold $primary"), ("tutor", "bold $value"))
        room = width - left.cell_length - right.cell_length - 4
        if self.title and room > 6:
            title = Content.styled(self.title, "$detail").truncate(room, ellipsis=True)
            left = line(left, "  ", title)
        return spread(left, right, width)


class TabBar(Piece):
    """The pages of a narrow terminal."""

    DEFAULT_CSS = """
    TabBar { height: 1; display: none; }
    """

    active: reactive[str] = reactive("chat")
    alarm: reactive[bool] = reactive(default=False)

    @dataclass
    class Picked(Message):
        """A tab was clicked."""

        tab: str

    def paint(self, width: int) -> Content:
        """Draw number and name of each."""
        return line(" ", *(part for _, part in self._tabs())).truncate(width)

    def on_click(self, event: Click) -> None:
        """Go to the tab under the pointer."""
        event.stop()
        at = 1
        for tab, part in self._tabs():
            if at <= event.x < at + part.cell_length:
                self.post_message(self.Picked(tab))
            at += part.cell_length

    def _tabs(self) -> list[tuple[str, Content]]:
        out: list[tuple[str, Content]] = []
        for number, tab in enumerate(TABS, 1):
            on = tab == self.active
            name = (self.words(f"tab.{tab}"), "bold underline $value" if on else "$detail")
            sign = " ✖" if tab == "run" and self.alarm and not on else ""
            head = (f" {number} ", "$primary" if on else "$label")
            out.append((tab, line(head, name, (sign, "$trouble"), "   ")))
        return out


class RunStrip(Piece):
    """The followed run in one line, while its panel is out of sight."""

    DEFAULT_CSS = """
    RunStrip { height: 1; padding: 0 2; background: $surface; display: none; }
    RunStrip.-trouble { background: $strip; }
    """

    @dataclass
    class Clicked(Message):
        """The person wants to see the run."""

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None
        self._losses: tuple[float, ...] = ()

    @property
    def filled(self) -> bool:
        """Whether there is a run to show."""
        return self._view is not None

    def show(self, view: RunView | None, losses: tuple[float, ...]) -> None:
        """Show a run and the last of its losses."""
        if view == self._view:
            return
        self._view, self._losses = view, losses
        self.set_class(in_trouble(view), "-trouble")
        self.refresh()

    def on_click(self) -> None:
        """Go to the run."""
        self.post_message(self.Clicked())

    def paint(self, width: int) -> Content:
        """Draw state, name, step, sparkline and what is wrong."""
        view = self._view
        if view is None:
            return Content("")
        words = self.words
        sign, style = STATE_SIGNS[view.state]
        total = f"/{view.total_steps}" if view.total_steps else ""
        trouble = view.findings[0] if view.findings else None
        news = (
            (words.of(trouble.title), "$trouble")
            if trouble
            else (figures.loss(view.loss), "bold $value")
        )
        head = line(
            (f"{sign} {view.name}", f"bold {style}"), (f"  {view.step}{total}  ", "$detail")
        )
        key = line("  ", ("F2", "$primary"), (f" {words('strip.look')}", "$label"))
        room = width - head.cell_length - key.cell_length
        spark = sparkline(self._losses, min(13, max(0, room - 12)))
        middle = line((spark, "$primary"), "  ", news).truncate(max(1, room), ellipsis=True)
        return line(head, middle, key)


class QueueLine(Piece):
    """What was typed while the tutor worked."""

    DEFAULT_CSS = """
    QueueLine { height: 1; padding: 0 2; display: none; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._waiting: tuple[str, ...] = ()

    def show(self, waiting: tuple[str, ...]) -> None:
        """Show what waits; nothing hides the line."""
        self._waiting = waiting
        self.display = bool(waiting)
        self.refresh()

    def paint(self, width: int) -> Content:
        """Draw the count and the first message."""
        if not self._waiting:
            return Content("")
        first = " ".join(self._waiting[0].split())
        head = self.words("queue.waiting", count=len(self._waiting))
        return line((f"{head}  ", "$caution"), (first, "$detail")).truncate(width, ellipsis=True)


class Hints(Piece):
    """What the keys do now."""

    DEFAULT_CSS = """
    Hints { height: 1; }
    """

    keys: reactive[tuple[tuple[str, str], ...]] = reactive(())
    """Pairs of a key's sign and the key of its words."""

    def paint(self, width: int) -> Content:
        """Draw as many as fit."""
        out = Content(" ")
        for sign, key in self.keys:
            part = line((sign, "$primary"), (f" {self.words(key)}   ", "$label"))
            if out.cell_length + cell_len(part.plain.rstrip()) > width:
                break
            out = line(out, part)
        return out


def in_trouble(view: RunView | None) -> bool:
    """Return whether a run wants the person."""
    return view is not None and (view.state in _TROUBLE or bool(view.findings))
