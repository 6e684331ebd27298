"""A repaired run: how long the repair has held, and what was tried before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.runs.report import repair_verdict
from tutor_agent.tui.paint import line, lines, marked
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from tutor_agent.runs.ledger import Trial
    from tutor_agent.runs.view import RunView
    from tutor_agent.tui.wording import Words

_SIGNS = {"gone": ("✓", "$done"), "back": ("✗", "$trouble"), "open": ("◌", "$caution")}
_MOST = 3


class Repairs(Piece):
    """The line of repairs that a run stands in; nothing for any other run."""

    DEFAULT_CSS = """
    Repairs { margin-top: 1; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._view: RunView | None = None

    def show(self, view: RunView) -> None:
        """Show the line of a run, as long as no card tells it."""
        self.display = bool(view.trials) and view.state != "completed"
        old, self._view = self._view, view
        if old is None or _told(old) != _told(view):
            self.refresh(layout=True)

    def paint(self, width: int) -> Content:
        """Draw the verdict, then the newest trials."""
        return Content("") if self._view is None else repair_lines(self._view, self.words, width)


def repair_lines(view: RunView, words: Words, width: int) -> Content:
    """Draw how the repair that a run is does, and the newest trials of its line."""
    said = repair_verdict(view)
    rows: list[Content] = []
    if said is not None:
        outcome = "open" if view.active and not view.fault_gone else None
        sign = _SIGNS[outcome or ("gone" if view.fault_gone else "back")]
        rows.append(marked(sign, Content.styled(words.of(said), "$value"), width))
    rows += [_row(trial, words, width) for trial in view.trials[-_MOST:]]
    return lines(*rows)


def _row(trial: Trial, words: Words, width: int) -> Content:
    by = words("repair.by_itself") if trial.by == "autopilot" else ""
    words_of_it = line(
        (trial.run, "$detail"),
        ("  ", ""),
        (words.of(trial.title).rstrip("。."), "$detail"),
        (f"  {by}" if by else "", "$label"),
    )
    return marked(_SIGNS[trial.outcome], words_of_it, width)


def _told(view: RunView) -> tuple[object, ...]:
    return view.trials, view.held, view.fault_gone, view.active
