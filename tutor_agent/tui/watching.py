"""Watches the runs of a workspace from a thread: the followed run, its curves, the load of the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from tutor_agent.core.errors import TutorError
from tutor_agent.probe.gpu import gpu_load
from tutor_agent.runs.folder import RunFolder, is_run
from tutor_agent.runs.view import LiveRun

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.facts import Accelerator
    from tutor_agent.runs.curves import Curves
    from tutor_agent.runs.view import RunView

LOAD_SECONDS = 2.0
"""Between two measurements of the load, and two looks at a run whose files stay as they are."""


@dataclass(frozen=True)
class Loads:
    """How busy the machine is."""

    accelerators: tuple[Accelerator, ...] = ()
    """Every GPU; empty without one."""
    cpu: float = 0.0
    """Share of all cores in use."""
    memory_gib: float = 0.0
    """Memory in use."""
    memory_total_gib: float = 0.0
    """Memory there is."""


@dataclass(frozen=True)
class Snapshot:
    """What a look at the runs gave."""

    view: RunView | None = None
    """The followed run; None when there is none."""
    curves: Curves | None = None
    """Its curves; they change only inside `RunWatch.look`."""
    before: RunView | None = None
    """The same run at the look before; None at the first one."""
    loads: Loads = Loads()
    """Load of the machine."""


class RunWatch:
    """Follows the chosen run, else the newest one; where the autopilot repairs it, the repaired one."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._chosen: str | None = None
        self._live: LiveRun | None = None
        self._view: RunView | None = None
        self._written: tuple[tuple[int, int], ...] = ()
        self._loads = Loads()
        self._loaded_at = 0.0

    def choose(self, name: str | None) -> None:
        """Follow the run called `name`; None follows the newest one."""
        self._chosen = name

    def look(self) -> Snapshot:
        """Read what is new; called again and again, each time at the cost of what is new."""
        self._attach()
        measured = self._measure()
        if self._live is None:
            return Snapshot(loads=self._loads)
        before, written = self._view, _written(self._live.folder)
        if before is not None and written == self._written and not measured:
            return Snapshot(before, self._live.curves, before, self._loads)
        self._written = written
        try:
            self._view = self._live.poll()
        except (TutorError, OSError):
            self._live = self._view = None
            return Snapshot(loads=self._loads)
        self._follow_repair(before, self._view)
        return Snapshot(self._view, self._live.curves, before, self._loads)

    def _attach(self) -> None:
        path = self._wanted()
        if path is None:
            self._live = self._view = None
        elif self._live is None or self._live.folder.path != path:
            try:
                self._live, self._view = LiveRun(path), None
            except (TutorError, OSError):
                self._live = self._view = None

    def _follow_repair(self, before: RunView | None, now: RunView) -> None:
        """Go on with the repaired run at the moment it is started; who comes back later sees what he chose."""
        begun = before is not None and before.name == now.name and before.repaired_by is None
        if begun and now.repaired_by is not None and self._chosen == now.name:
            self._chosen = now.repaired_by

    def _wanted(self) -> Path | None:
        if self._chosen and is_run(self._root / self._chosen):
            return self._root / self._chosen
        newest: tuple[int, Path] | None = None
        for path in self._root.iterdir() if self._root.is_dir() else ():
            if is_run(path):
                created = (path / "plan.yaml").stat().st_mtime_ns
                newest = max(newest or (created, path), (created, path))
        return self._until_told(newest[1]) if newest else None

    def _until_told(self, newest: Path) -> Path:
        """Stay with a run until its end is written, though the autopilot has begun its repair already."""
        now = self._view
        if now is None or self._live is None or not now.active or newest.name == now.name:
            return newest
        parent = RunFolder(newest).load_lineage().parent
        return self._live.folder.path if parent == now.name else newest

    def _measure(self) -> bool:
        now = time.monotonic()
        if now - self._loaded_at < LOAD_SECONDS:
            return False
        self._loaded_at = now
        memory = psutil.virtual_memory()
        self._loads = Loads(
            accelerators=gpu_load(),
            cpu=psutil.cpu_percent() / 100,
            memory_gib=(memory.total - memory.available) / 2**30,
            memory_total_gib=memory.total / 2**30,
        )
        return True


def _written(folder: RunFolder) -> tuple[tuple[int, int], ...]:
    """Return size and time of the files that tell a run: as long as they stay, a look costs nothing."""
    return tuple(_state(path) for path in (folder.events, folder.findings, folder.status_path))


def _state(path: Path) -> tuple[int, int]:
    try:
        state = path.stat()
    except OSError:
        return 0, 0
    return state.st_size, state.st_mtime_ns
