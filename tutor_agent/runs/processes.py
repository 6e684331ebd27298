"""The processes of a run: which were started, which still live, and how they are ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING

import psutil

from tutor_agent.core.processes import ProcessId, identify, is_alive, recorded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tutor_agent.runs.folder import RunFolder

_LOOK_SECONDS = 0.1


def launcher_of(folder: RunFolder, attempt: int) -> ProcessId | None:
    """Return the launcher that an attempt recorded."""
    return recorded(folder.attempt(attempt) / "launcher.json")


def ranks_of(folder: RunFolder, attempt: int) -> dict[int, ProcessId]:
    """Return the ranks that an attempt recorded, by number."""
    found: dict[int, ProcessId] = {}
    for path in folder.attempt(attempt).glob("rank-*.json"):
        number, identity = path.stem[5:], recorded(path)
        if number.isdigit() and identity is not None:
            found[int(number)] = identity
    return dict(sorted(found.items()))


def living(folder: RunFolder) -> list[ProcessId]:
    """Return every recorded launcher and rank of all attempts that still runs."""
    found: list[ProcessId] = []
    for attempt in range(folder.last_attempt() + 1):
        launcher = launcher_of(folder, attempt)
        found += [launcher] if launcher is not None else []
        found += ranks_of(folder, attempt).values()
    return [identity for identity in found if is_alive(identity)]


def strays(folder: RunFolder) -> list[ProcessId]:
    """Return processes that carry this run in their environment and were not recorded.

    Data workers, and ranks of a script that never recorded itself, are found only so.
    """
    run = str(folder.path.resolve())
    known = {identity.pid for identity in living(folder)} | {os.getpid()}
    found: list[ProcessId] = []
    for process in psutil.process_iter():
        if process.pid in known:
            continue
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("TUTOR_RUN") == run:
                found.append(identify(process.pid, role="stray"))
    return found


def send(processes: Iterable[ProcessId], number: signal.Signals) -> None:
    """Signal those that still run; a recycled number is never hit."""
    for identity in processes:
        if is_alive(identity):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(identity.pid, number)


def wait_until(predicate: Callable[[], bool], seconds: float) -> bool:
    """Look until `predicate` holds or the time is over; return whether it held."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not predicate():
        if time.monotonic() >= deadline:
            return False
        pause.wait(_LOOK_SECONDS)
    return True


def end(processes: Iterable[ProcessId], grace_seconds: float) -> list[ProcessId]:
    """Ask, wait, then force; return those that survived even that."""
    wanted = [identity for identity in processes if is_alive(identity)]
    if not wanted:
        return []
    send(wanted, signal.SIGTERM)
    if not wait_until(lambda: not any(map(is_alive, wanted)), grace_seconds):
        send(wanted, signal.SIGKILL)
        wait_until(lambda: not any(map(is_alive, wanted)), 10)
    return [identity for identity in wanted if is_alive(identity)]


def sweep(folder: RunFolder, grace_seconds: float) -> list[ProcessId]:
    """End whatever a run left behind; return the survivors."""
    survivors = end(living(folder), grace_seconds)
    return survivors + end(strays(folder), min(grace_seconds, 5))
