"""What the events of a run add up to."""

from __future__ import annotations

import statistics
from collections import deque
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.checkpoints import step_of
from tutor_agent.runs.curves import Curves

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.events import Event

_RECENT = 100


class Progress:
    """The newest state of everything the events tell; fed one event at a time."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.curves = Curves()
        self.attempt = 0
        self.step = 0
        self.total_steps: int | None = None
        self.started: Event | None = None
        self.audit: Event | None = None
        self.halted: Event | None = None
        self.ended: Event | None = None
        self.held_out: dict[str, Event] = {}
        self.samples: dict[tuple[str, str], Event] = {}
        self.heartbeats: dict[int, float] = {}
        self.first_time: float | None = None
        self.last_time: float | None = None
        self._paces: deque[tuple[float, int]] = deque(maxlen=_RECENT)
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take one event."""
        self.curves.add(event, _resumed_at(event))
        if event.attempt > self.attempt:
            self._begin(event.attempt)
        self.first_time = self.first_time or event.t
        self.last_time = event.t
        if event.kind == "heartbeat":
            self.heartbeats[int(event.number("rank") or 0)] = event.t
            return
        self.step = event.step
        self._keep(event)

    def _keep(self, event: Event) -> None:
        match event.kind:
            case "run_started":
                self._start(event)
            case "step":
                self._paces.append((event.t, event.step))
            case "evaluation" if event.payload.get("split") == "test":
                self.held_out[str(event.payload.get("phase"))] = event
            case "sample":
                prompt, phase = event.payload.get("prompt"), event.payload.get("phase")
                self.samples[str(prompt), str(phase)] = event
            case "audit":
                self.audit = event
            case "halted":
                self.halted = event
            case "run_ended":
                self.ended = event
            case _:
                pass

    def _start(self, event: Event) -> None:
        self.started = event
        total = event.number("total_steps")
        self.total_steps = int(total) if total else self.total_steps
        self.step = _resumed_at(event) or event.step

    def seconds_per_step(self) -> float | None:
        """Return the recent wall time of a step, evaluations and saves included."""
        if len(self._paces) < 2:
            return None
        (t0, first), (t1, last) = self._paces[0], self._paces[-1]
        return (t1 - t0) / (last - first) if last > first and t1 > t0 else None

    def median_step_seconds(self) -> float | None:
        """Return the median pause between logged steps."""
        times = [t for t, _ in self._paces]
        pauses = [later - earlier for earlier, later in pairwise(times)]
        return statistics.median(pauses) if pauses else None

    def seconds_left(self) -> float | None:
        """Return the time that the remaining steps will take at the recent pace."""
        pace = self.seconds_per_step()
        if pace is None or self.total_steps is None:
            return None
        return max(0, self.total_steps - self.step) * pace

    def _begin(self, attempt: int) -> None:
        self.attempt = attempt
        self.halted = self.ended = None
        self.heartbeats.clear()
        self._paces.clear()


def _resumed_at(event: Event) -> int | None:
    if event.kind != "run_started":
        return None
    origin = event.payload.get("resumed_from")
    step = step_of(Path(origin)) if isinstance(origin, str) else -1
    return step if step >= 0 else None
