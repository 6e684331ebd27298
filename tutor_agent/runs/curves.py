"""The curves of a run, kept as events arrive."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from tutor_agent.core.events import Event

_TRAIN = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "memory_gib")


class Point(NamedTuple):
    """One finite figure."""

    step: int
    value: float


class Mark(NamedTuple):
    """A figure that is no number: it has no place on the curve and must be seen all the same."""

    step: int
    name: str
    value: float


class Curves:
    """Series by name (`loss`, `grad_norm`, `learning_rate`, `tokens_per_second`, `eval_loss`, …).

    A resume takes steps back; what the earlier attempt did beyond that point did not happen.
    """

    def __init__(self) -> None:
        self.series: dict[str, list[Point]] = {}
        self.marks: list[Mark] = []
        self.resumes: list[int] = []
        self._attempt = 0

    def __getitem__(self, name: str) -> list[Point]:
        """Return a series, empty when nothing was logged."""
        return self.series.get(name, [])

    @property
    def train(self) -> list[Point]:
        """The training loss."""
        return self["loss"]

    @property
    def evaluations(self) -> list[Point]:
        """The validation loss."""
        return self["eval_loss"]

    def last(self, name: str) -> float | None:
        """Return the newest finite figure of a series."""
        points = self[name]
        return points[-1].value if points else None

    def best(self, name: str = "eval_loss") -> Point | None:
        """Return the lowest point of a series, the earliest of equal ones."""
        return min(self[name], key=lambda point: point.value, default=None)

    def add(self, event: Event, resumed_at: int | None = None) -> None:
        """Take one event; `resumed_at` is the step its attempt began from, when it is the first."""
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            step = resumed_at if resumed_at is not None else _first_step(event)
            self._cut(step)
            self.resumes.append(step)
        if event.kind == "step":
            for name in _TRAIN:
                self._add(name, event.step, event.number(name))
        elif event.kind == "evaluation" and event.payload.get("phase") == "during":
            for name in event.payload:
                if name not in {"split", "phase"}:
                    self._add(f"eval_{name}", event.step, event.number(name))

    def _add(self, name: str, step: int, value: float | None) -> None:
        if value is None:
            return
        if not math.isfinite(value):
            self.marks.append(Mark(step, name, value))
            return
        points = self.series.setdefault(name, [])
        while points and points[-1].step >= step:
            points.pop()
        points.append(Point(step, value))

    def _cut(self, step: int) -> None:
        for points in self.series.values():
            while points and points[-1].step > step:
                points.pop()
        self.marks = [mark for mark in self.marks if mark.step <= step]
        self.resumes = [at for at in self.resumes if at <= step]


def _first_step(event: Event) -> int:
    """Return the last step that the events before `event` may keep."""
    return event.step - 1 if event.kind == "step" else event.step
