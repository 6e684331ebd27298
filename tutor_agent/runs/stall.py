"""A run that is silent for too long hangs: nothing else will say so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.processes import ProcessId
    from tutor_agent.runs.launch.record import Timing
    from tutor_agent.runs.progress import Progress

_STEPS = 10
_LONGEST_PAUSE = 3


class StallClock:
    """Measures silence. A heartbeat shows that a process lives, not that it gets on."""

    def __init__(self, timing: Timing, now: float) -> None:
        self._timing = timing
        self._last = now
        self._longest = 0.0
        self._stepped = False
        self.stalled = False

    def heard(self, event: Event, now: float) -> None:
        """Take one event that arrived at `now`."""
        if event.kind == "heartbeat":
            return
        if self._stepped:
            self._longest = max(self._longest, now - self._last)
        self._stepped = self._stepped or event.kind == "step"
        self._last, self.stalled = now, False

    def silence(self, now: float) -> float:
        """Return the seconds since something happened."""
        return now - self._last

    def limit(self, progress: Progress) -> float:
        """Return the silence that is still normal for this run.

        An evaluation or a save is a pause as well: what has happened once is no hang the second time.
        """
        if not self._stepped:
            return max(self._timing.startup, self._timing.stall)
        median = progress.median_step_seconds() or 0.0
        return max(_STEPS * median, self._timing.stall, _LONGEST_PAUSE * self._longest)

    def begins(self, progress: Progress, now: float) -> bool:
        """Return True once when a stall begins."""
        if self.stalled or self.silence(now) <= self.limit(progress):
            return False
        self.stalled = True
        return True


def describe_stall(seconds: float, progress: Progress) -> Text:
    """Say that the run hangs."""
    return Text(
        en=f"nothing has happened for {seconds:.0f} s after step {progress.step}, though processes live; "
        "the stacks of all ranks are in their logs",
        zh=f"第 {progress.step} 步之后已有 {seconds:.0f} 秒没有任何进展，但进程仍在；各 rank 的调用栈已写入日志",
    )


def stall_evidence(
    seconds: float, progress: Progress, ranks: dict[int, ProcessId], now: float
) -> tuple[Text, ...]:
    """Say what the silence looks like from outside: the time, suspended ranks, the last heartbeats."""
    evidence = [describe_stall(seconds, progress)]
    if frozen := suspended(ranks):
        names = ", ".join(map(str, frozen))
        evidence.append(
            Text(
                en=f"rank {names} is suspended (process state T) and the others wait for it",
                zh=f"rank {names} 被挂起（进程状态 T），其他进程在等待它",
            )
        )
    for rank, beat in sorted(progress.heartbeats.items()):
        evidence.append(
            Text(
                en=f"last heartbeat of rank {rank}: {now - beat:.0f} s ago",
                zh=f"rank {rank} 最近一次心跳在 {now - beat:.0f} 秒前",
            )
        )
    return tuple(evidence)


def suspended(ranks: dict[int, ProcessId]) -> list[int]:
    """Return the ranks that were stopped by a signal and wait to be continued."""
    return [rank for rank, identity in ranks.items() if _is_frozen(identity.pid)]


def _is_frozen(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False
