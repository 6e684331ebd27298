"""All runs of the workspace, to choose the one that is followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from textual.containers import VerticalScroll
from textual.message import Message

from tutor_agent.tui.widgets.pick_list import PickList

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tutor_agent.tui.widgets.pick_list import Entry


class RunsPage(VerticalScroll, can_focus=False):
    """A list of runs; picking one is reported as `PickList.Picked`."""

    @dataclass
    class Wanted(Message):
        """The page is shown: somebody should read the runs."""

        page: RunsPage

    def compose(self) -> ComposeResult:
        """The list."""
        yield PickList(empty="runs.none")

    def reload(self) -> None:
        """Ask for the runs."""
        self.post_message(self.Wanted(self))

    def fill(self, entries: tuple[Entry, ...]) -> None:
        """Show the runs."""
        self.query_one(PickList).fill(entries)

    def focus_list(self) -> None:
        """Bring the keys to the list."""
        self.query_one(PickList).focus()
