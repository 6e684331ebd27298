"""Readers: any tool's log becomes `Observations`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.diagnose.observations import Observations

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan


def read_run_events(events: Iterable[Event], plan: Plan | None = None) -> Observations:
    """Read the events of one of our own runs."""
    return Observations(plan=plan, halted=next((e for e in events if e.kind == "halted"), None))


def read_text(words: str) -> Observations:
    """Read pasted text: a log, a traceback or a sentence."""
    return Observations(lines=tuple(words.splitlines()))


def read_path(path: Path) -> Observations:
    """Read a log file, a trainer_state.json, or a run folder."""
    return read_text(path.read_text(encoding="utf-8", errors="replace"))
