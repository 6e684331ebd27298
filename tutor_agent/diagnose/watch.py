"""Watching a run while it goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.plan import Plan


class Watch:
    """Turns events into findings; every fault is reported once until it has cleared."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan

    def feed(self, event: Event) -> list[Finding]:
        """Take one event and return what it newly shows."""
        del event
        return []
