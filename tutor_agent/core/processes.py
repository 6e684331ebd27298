"""Processes by id and start time, so that a recycled id is never mistaken for ours."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import psutil

from tutor_agent.core.contract import Contract
from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from pathlib import Path


class ProcessId(Contract):
    """A process that can be told from a later one with the same number."""

    pid: int
    """Process id."""
    started: float
    """Unix time at which it started."""
    role: str = ""
    """supervisor, launcher, or rank-N."""


def identify(pid: int | None = None, role: str = "") -> ProcessId:
    """Describe a living process, by default this one."""
    process = psutil.Process(pid or os.getpid())
    return ProcessId(pid=process.pid, started=process.create_time(), role=role)


def is_alive(identity: ProcessId) -> bool:
    """Return whether exactly that process still runs (a zombie does not)."""
    try:
        process = psutil.Process(identity.pid)
        same = abs(process.create_time() - identity.started) < 2
        return same and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def record(path: Path, identity: ProcessId) -> None:
    """Write `identity` to `path`."""
    write_atomic(path, identity.model_dump_json())


def recorded(path: Path) -> ProcessId | None:
    """Read what `record` wrote; None when there is nothing readable."""
    try:
        return ProcessId.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
