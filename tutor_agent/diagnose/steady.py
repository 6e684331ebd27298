"""Rules over what surrounds the loss: the schedule, the wait for data, memory, the order of the batches.

Each takes one event and returns what it newly shows, or nothing. Windows count logged points.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.core.checkpoints import step_of
from tutor_agent.core.text import Text
from tutor_agent.diagnose.signs import write

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Severity
    from tutor_agent.core.plan import Plan


class Told(NamedTuple):
    """What a rule saw, and which faults may be behind it."""

    rule: str
    slugs: tuple[str, ...]
    evidence: Text
    severity: Severity


def begun_at(event: Event) -> int:
    """Return the step after which an attempt goes on: that of its checkpoint."""
    resumed = event.payload.get("resumed_from")
    found = step_of(Path(resumed)) if isinstance(resumed, str) else -1
    return found if found >= 0 else event.step


class ScheduleRule:
    """The learning rate is not the one that the plan's schedule gives for this step, three points in a row."""

    in_a_row = 3
    tolerance, least = 0.1, 0.02

    def __init__(self, plan: Plan | None) -> None:
        self._optim = plan.optim if plan is not None else None
        self._half = plan is not None and plan.model.dtype == "fp16"
        self._total = self._begun = 0
        self._off = self._restarted = 0

    def start(self, event: Event) -> None:
        """Take `run_started`: how long the run is, and at which step this attempt begins."""
        self._total = int(event.number("total_steps") or 0)
        self._begun = begun_at(event)
        self._off = self._restarted = 0

    def add(self, event: Event) -> Told | None:
        """Take one step."""
        rate = event.number("learning_rate")
        if self._optim is None or rate is None or not self._total or self._half:
            return None
        if event.step <= self._begun:
            return None
        wanted = self.planned(event.step - 1)
        if wanted is None:
            return None
        self._off = self._off + 1 if self._differs(rate, wanted) else 0
        begun = self._resumed_at(event)
        again = self.planned(event.step - 1 - begun) if begun else None
        fits = again is not None and not self._differs(rate, again)
        self._restarted = self._restarted + 1 if self._off and fits else 0
        if self._off != self.in_a_row:
            return None
        if self._restarted >= self.in_a_row:
            return self._told_restart(event, rate, wanted)
        evidence = Text(
            en=f"learning rate {write(rate)} at step {event.step}; the plan's {self._optim.schedule} schedule gives "
            f"{write(wanted)} there",
            zh=f"第 {event.step} 步学习率为 {write(rate)}，而计划的 {self._optim.schedule} 调度在此处应为 {write(wanted)}",
        )
        return Told("rate", ("lr_scheduler_misconfigured",), evidence, "stop")

    def _resumed_at(self, event: Event) -> int:
        return self._begun if event.attempt else 0

    def _told_restart(self, event: Event, rate: float, wanted: float) -> Told:
        begun = self._begun
        evidence = Text(
            en=f"after the resume at step {begun} the learning rate starts again: {write(rate)} at step "
            f"{event.step}, the plan gives {write(wanted)}",
            zh=f"在第 {begun} 步恢复后学习率从头开始：第 {event.step} 步为 {write(rate)}，按计划应为 {write(wanted)}",
        )
        return Told("rate", ("resume_not_requested",), evidence, "stop")

    def _differs(self, rate: float, wanted: float) -> bool:
        assert self._optim is not None
        peak = self._optim.learning_rate
        return abs(rate - wanted) > max(self.tolerance * wanted, self.least * peak)

    def planned(self, done: int) -> float | None:
        """Return the learning rate after `done` steps; None where the shape is not known here."""
        optim, total = self._optim, self._total
        assert optim is not None
        warmup = round(optim.warmup * total) if optim.warmup < 1 else int(optim.warmup)
        if done < warmup:
            return optim.learning_rate * done / max(1, warmup)
        share = (done - warmup) / max(1, total - warmup)
        match optim.schedule:
            case "cosine":
                return optim.learning_rate * max(0.0, 0.5 * (1 + math.cos(math.pi * share)))
            case "linear":
                return optim.learning_rate * max(0.0, 1 - share)
            case "constant":
                return optim.learning_rate
            case _:
                return optim.learning_rate if share < 0.5 else None


class DataWaitRule:
    """Most of the time between two steps goes by waiting for data, several points in a row."""

    in_a_row = 4
    share, least_seconds = 0.6, 0.1

    def __init__(self) -> None:
        self._slow = 0

    def add(self, event: Event) -> Told | None:
        """Take one step."""
        wait, work = event.number("data_seconds"), event.number("seconds")
        if wait is None or work is None:
            return None
        slow = wait > self.least_seconds and wait > self.share * (wait + work)
        self._slow = self._slow + 1 if slow else 0
        if self._slow != self.in_a_row:
            return None
        evidence = Text(
            en=f"step {event.step} waited {write(wait)} s for its data and computed for {write(work)} s; so did the "
            f"{self.in_a_row - 1} before it",
            zh=f"第 {event.step} 步等待数据 {write(wait)} 秒、计算 {write(work)} 秒，之前 {self.in_a_row - 1} 步也是如此",
        )
        return Told("data", ("slow_data_loading",), evidence, "warn")


class MemoryRule:
    """Memory grows from block to block of the recent points and does not settle."""

    first_points, block, blocks = 10, 10, 4
    growth, least_gib = 0.15, 0.2

    def __init__(self) -> None:
        self._points = 0
        self._recent: deque[float] = deque(maxlen=self.block * self.blocks)
        self._told = False

    def add(self, event: Event) -> Told | None:
        """Take one step."""
        memory = event.number("memory_gib")
        if memory is None or self._told:
            return None
        self._points += 1
        if self._points <= self.first_points:
            return None
        self._recent.append(memory)
        if len(self._recent) < self.block * self.blocks or self._points % self.block:
            return None
        if not self._grows():
            return None
        self._told = True
        first, now = self._recent[0], self._recent[-1]
        a_step = (now - first) / len(self._recent) * 1024
        evidence = Text(
            en=f"memory {write(first)} → {write(now)} GiB over the last {len(self._recent)} points up to step "
            f"{event.step}, about {write(round(a_step, 1))} MiB a step without settling: something is kept that should be freed",
            zh=f"到第 {event.step} 步的最近 {len(self._recent)} 个记录点内，内存 {write(first)} → {write(now)} GiB，"
            f"每步约增加 {write(round(a_step, 1))} MiB 且不见平稳：有本该释放的东西被一直保留",
        )
        return Told("memory", ("oom_host_ram",), evidence, "warn")

    def _grows(self) -> bool:
        """Whether every block lies above the one before, the last rise being no smaller than half the mean."""
        values = list(self._recent)
        levels = [
            statistics.median(values[i : i + self.block]) for i in range(0, len(values), self.block)
        ]
        rises = [b - a for a, b in itertools.pairwise(levels)]
        total = levels[-1] - levels[0]
        if total < max(self.growth * levels[0], self.least_gib):
            return False
        mean = total / len(rises)
        return min(rises) > 0.4 * mean and rises[-1] > 0.5 * mean


class ReplayRule:
    """After a resume, batches come that this pass over the data has had already."""

    in_a_row = 3

    def __init__(self) -> None:
        self._at: dict[tuple[int, int], int] = {}
        self._begun = 0
        self._again = 0

    def start(self, event: Event) -> None:
        """Take `run_started`: where this attempt begins."""
        self._begun = begun_at(event)
        self._again = 0
        self._at = {key: step for key, step in self._at.items() if step <= self._begun}

    def add(self, event: Event) -> Told | None:
        """Take one step."""
        batch, epoch = event.number("batch"), event.number("epoch")
        if batch is None or epoch is None:
            return None
        key = (math.ceil(epoch - 1e-3), int(batch))
        before = self._at.setdefault(key, event.step)
        self._again = self._again + 1 if event.attempt and before <= self._begun else 0
        if self._again != self.in_a_row:
            return None
        evidence = Text(
            en=f"after the resume at step {self._begun} the batches of earlier steps come again: step {event.step} has the "
            f"rows of step {before}",
            zh=f"在第 {self._begun} 步恢复后，先前的批次又来了一遍：第 {event.step} 步用的是第 {before} 步的数据行",
        )
        return Told("replay", ("resume_replays_data",), evidence, "warn")
