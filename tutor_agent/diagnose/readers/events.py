"""Our own runs: events become observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.diagnose.observations import Observations
from tutor_agent.diagnose.readers.settings import flatten
from tutor_agent.diagnose.series import Series

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan

_STEP_METRICS = ("loss", "grad_norm", "learning_rate", "tokens_per_second", "memory_gib")
_NOT_METRICS = {"loss", "perplexity", "runtime", "rows", "tokens", "seconds", "samples"}


def read_run_events(events: Iterable[Event], plan: Plan | None = None) -> Observations:
    """Read the events of one run; a resumed attempt cuts the curves where it starts again."""
    seen = planned(plan)
    reader = EventReader(seen)
    for event in events:
        reader.take(event)
    return seen


def planned(plan: Plan | None) -> Observations:
    """Return what is known before the first event: the plan and its settings."""
    settings = flatten(plan.model_dump(mode="json")) if plan is not None else {}
    return Observations(plan=plan, config=settings)


class EventReader:
    """Folds events into one `Observations`."""

    def __init__(self, seen: Observations) -> None:
        self._seen = seen
        self._attempt = 0
        self._cut_due = False

    def take(self, event: Event) -> None:
        """Add one event."""
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            self._seen.halted, self._seen.failed = None, False
            self._cut_due = True
        match event.kind:
            case "step":
                self._step(event)
            case "evaluation":
                self._evaluation(event)
            case "audit":
                self._seen.audit = event
            case "halted":
                self._seen.halted = event
                self._halt(event)
            case "run_started":
                self._start(event)
            case "note" | "run_ended":
                self._seen.failed |= event.payload.get("state") == "failed"
                words = event.payload.get("text_en") or event.payload.get("reason")
                if isinstance(words, str):
                    self._seen.lines = (*self._seen.lines, words)
            case _:
                pass

    def _cut(self, event: Event) -> None:
        """Drop what a resumed attempt does again, from the first step that it writes."""
        if self._cut_due and event.step > 0:
            self._cut_due = False
            for series in self._seen.series.values():
                series.cut(event.step)

    def _start(self, event: Event) -> None:
        versions = event.payload.get("versions")
        if isinstance(versions, dict):
            self._seen.versions |= {key: str(value) for key, value in versions.items()}
        dtype = event.payload.get("dtype")
        if isinstance(dtype, str):
            self._seen.config["dtype"] = dtype
        self._seen.phase = "train"

    def _step(self, event: Event) -> None:
        self._cut(event)
        epoch = event.number("epoch")
        for name in _STEP_METRICS:
            value = event.number(name)
            if value is not None:
                self._add(name, value, event.step, epoch)
        if epoch is not None:
            self._add("epoch", epoch, event.step, epoch)

    def _evaluation(self, event: Event) -> None:
        if event.payload.get("split") == "test":
            return
        self._cut(event)
        loss = event.number("loss")
        if loss is not None:
            self._add("eval_loss", loss, event.step, None)
        for key in event.payload:
            value = event.number(key)
            if value is None or key in _NOT_METRICS:
                continue
            kind = "metric_down" if key in {"wer", "cer", "ter"} else "metric_up"
            self._add(kind, value, event.step, None)

    def _halt(self, event: Event) -> None:
        """The guard stops before a bad step is done and logged: its figures are the next point."""
        if event.payload.get("reason") == "stop_requested":
            return
        for name in ("loss", "grad_norm"):
            value = event.number(name)
            series = self._seen.metric(name)
            if value is not None and (not series.steps or series.steps[-1] <= event.step):
                self._add(name, value, event.step + 1, None)

    def _add(self, name: str, value: float, step: int, epoch: float | None) -> None:
        series = self._seen.series.setdefault(name, Series())
        series.add(value, step, epoch if epoch is not None else float("nan"))
