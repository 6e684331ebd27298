"""Look at the log of any tool while it is being written: what it shows so far, and what has become of it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutor_agent.actions.diagnose import with_ending
from tutor_agent.core.errors import NotFoundError
from tutor_agent.diagnose.rank import THRESHOLD, diagnose
from tutor_agent.diagnose.readers import read_path, read_run
from tutor_agent.diagnose.readers.endings import ending_of
from tutor_agent.diagnose.readers.folders import runs_in

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.findings import Diagnosis, Finding
    from tutor_agent.core.text import Language
    from tutor_agent.diagnose.observations import Observations
    from tutor_agent.diagnose.readers.folders import RunFiles

_SHOWN = ("loss", "grad_norm", "learning_rate", "eval_loss")
_TO_LAST = 2


@dataclass(frozen=True)
class Look:
    """What a log showed at one moment."""

    diagnosis: Diagnosis
    source: Path
    """The file, or the folder of the run."""
    others: int
    """How many other runs are in the folder."""
    step: int | None
    figures: dict[str, float]
    """The last loss, grad_norm, learning_rate and eval_loss, as far as they are logged."""
    points: int
    """How many losses and evaluations have been logged."""
    over: bool
    """Whether the tool said that training has ended."""
    failed: bool
    """Whether an error is the last that it said."""
    began_anew: bool
    """Whether this is another run than before: the log was replaced or cut, or the folder holds a newer one."""
    news: Finding | None
    """A fault that has come up and lasted, told once; `None` mostly."""
    cleared: str | None
    """The cause told before that no longer shows."""


class LogWatch:
    """Follows one file or folder; each `look` reads it anew when it has changed."""

    def __init__(self, path: Path, language: Language) -> None:
        self.path = path
        self._language: Language = language
        self._before: dict[Path, tuple[int, int, int]] = {}
        self._home: Path | None = None
        self._forget()

    def _forget(self) -> None:
        self._told: set[str] = set()
        self._showing: str | None = None
        self._leading: tuple[str, int, int] = ("", 0, -1)

    def look(self) -> Look | None:
        """Return what the log shows; None while nothing has changed or nothing is there yet.

        Raises:
            UnreadableError: The file cannot be opened.
        """
        runs = runs_in(self.path) if self.path.is_dir() else []
        files = runs[0].all if runs else [self.path]
        now = {path: _mark(path) for path in files if path.is_file()}
        if not now or now == self._before:
            return None
        home = runs[0].home if runs else self.path
        anew = bool(self._before) and (home != self._home or _is_replaced(self._before, now))
        self._before, self._home = now, home
        if anew:
            self._forget()
        try:
            seen = _read(self.path, runs)
        except NotFoundError:
            return None
        return self._judge(seen, home, len(runs) - 1, anew)

    def _judge(self, seen: Observations, home: Path, others: int, anew: bool) -> Look:
        result = with_ending(diagnose(seen, language=self._language), seen)
        points = len(seen.metric("loss")) + len(seen.metric("eval_loss"))
        news = self._news(result, seen, points)
        cleared = self._cleared(result)
        steps = seen.metric("loss").steps
        return Look(
            diagnosis=result,
            source=home,
            others=max(0, others),
            step=int(steps[-1]) if steps else None,
            figures={name: seen.metric(name).values[-1] for name in _SHOWN if seen.metric(name)},
            points=points,
            over=seen.finished,
            failed=bool(seen.error) or ending_of(seen.lines) is not None,
            began_anew=anew,
            news=news,
            cleared=cleared,
        )

    def _news(self, result: Diagnosis, seen: Observations, points: int) -> Finding | None:
        """Return the first finding once it may be told.

        At once where numbers broke or there is an error, else when it has stayed first while the curve went on.
        """
        first = result.findings[0] if result.verdict == "fault" else None
        if first is None or first.confidence < THRESHOLD:
            self._leading = ("", 0, points)
            return None
        cause, lasted, at = self._leading
        if first.cause != cause:
            lasted, at = 0, -1
        if points != at:
            lasted += 1
        self._leading = (first.cause, lasted, points)
        sure = _is_broken(seen) or bool(seen.error) or seen.finished
        if first.cause in self._told or not (sure or lasted >= _TO_LAST):
            return None
        self._told.add(first.cause)
        self._showing = first.cause
        return first

    def _cleared(self, result: Diagnosis) -> str | None:
        gone = self._showing
        if gone is None or any(finding.cause == gone for finding in result.findings):
            return None
        self._showing = None
        self._told.discard(gone)
        return gone


def _read(path: Path, runs: list[RunFiles]) -> Observations:
    return read_run(runs[0]) if runs else read_path(path)


def _mark(path: Path) -> tuple[int, int, int]:
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _is_replaced(
    before: dict[Path, tuple[int, int, int]], now: dict[Path, tuple[int, int, int]]
) -> bool:
    """Whether a log was rotated (another file under its name) or emptied; states are written anew each time."""
    return any(
        path in before and (mark[0] != before[path][0] or mark[1] < before[path][1])
        for path, mark in now.items()
        if path.suffix != ".json"
    )


def _is_broken(seen: Observations) -> bool:
    return any(
        not math.isfinite(value)
        for name in ("loss", "grad_norm")
        for value in seen.metric(name).values
    )


def our_run(path: Path) -> Path | None:
    """Return the run of ours at `path`, or the newest in it when that is one of ours; None for other tools' runs."""
    if (path / "plan.yaml").is_file():
        return path
    runs = runs_in(path) if path.is_dir() else []
    return runs[0].home if runs and (runs[0].home / "plan.yaml").is_file() else None
