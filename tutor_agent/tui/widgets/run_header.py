"""Name, state, progress and time left of the followed run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.paint import bar, line, lines, spread
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from tutor_agent.runs.view import RunView
    from tutor_agent.tui.wording import Words

STATE_SIGNS = {
    "starting": ("◌", "$caution"),
    "running": ("●", "$healthy"),
    "stopping": ("◌", "$caution"),
    "completed": ("✓", "$done"),
    "halted": ("✖", "$trouble"),
    "stopped": ("■", "$detail"),
    "failed": ("✖", "$trouble"),
    "lost": ("✖", "$trouble"),
}


class RunHeader(Piece):
    """Two rows: words, and a thin bar."""

    DEFAULT_CSS = """
    RunHeader { height: 2; }
    """

    def __init__(self) -> None:
        super().__init__()
        self.view: RunView | None = None

    def show(self, view: RunView) -> None:
        """Show a run as it stands."""
        if view != self.view:
            self.view = view
            self.refresh()

    def paint(self, width: int) -> Content:
        """Draw both rows."""
        if self.view is None:
            return Content("")
        return lines(_words(self.view, self.words, width), _bar(self.view, width))


def state_mark(view: RunView, words: Words) -> Content:
    """Return sign and name of a run's state."""
    sign, style = STATE_SIGNS[view.state]
    return line((f"{sign} {words(f'state.{view.state}')}", f"bold {style}"))


def progress_share(view: RunView) -> float:
    """Return how much of the run is done."""
    return min(1.0, view.step / view.total_steps) if view.total_steps else 0.0


def _words(view: RunView, words: Words, width: int) -> Content:
    """Name, state, steps and time; where all do not fit, the word for steps goes first."""
    total = f" / {view.total_steps:,}" if view.total_steps else ""
    steps = f"{view.step:,}{total}"
    name, mark = (f"{view.name}  ", "bold $value"), state_mark(view, words)
    time = view.seconds_left if view.active else view.seconds
    key = "run.left" if view.active else "run.took"
    said = "" if time is None else words(key, time=figures.clock(time))
    right = Content.styled(said, "$detail")
    left = line(name, mark, (f"  {words('run.step', step=steps)}", "$detail"))
    if left.cell_length + right.cell_length >= width:
        left = line(name, mark, (f"  {steps}", "$detail"))
    return spread(left, right, width)


def _bar(view: RunView, width: int) -> Content:
    style = {"completed": "$done", "halted": "$trouble", "failed": "$trouble", "lost": "$trouble"}
    return bar(progress_share(view), width, style.get(view.state, "$primary"))
