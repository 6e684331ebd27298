"""What every training process does first: say who it is, keep its output, and never outlive its owner.

The environment of a rank (set by the supervisor): `TUTOR_RUN` is the run folder, `TUTOR_ATTEMPT` the
attempt, `TUTOR_SUPERVISOR` the `pid:start` of the supervisor when that runs on the same machine, and
`TUTOR_GRACE` the seconds that a stop may take. Signals: SIGTERM asks for a stop with a checkpoint (the
training code handles it), SIGUSR2 writes all stacks to the rank's log.
"""

from __future__ import annotations

import atexit
import contextlib
import faulthandler
import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

from tutor_agent.core.contract import Contract
from tutor_agent.core.processes import ProcessId, identify, is_alive, record

_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 300.0
ORPHANED = 76
"""Exit code of a rank that found its supervisor gone before it began."""


class RankPlace(Contract):
    """Where a rank stands: its number, and the files it keeps."""

    rank: int
    """Number among all processes."""
    world_size: int
    """All processes."""
    attempt: int
    """0 for the first start, one more for every resume."""
    log: Path | None
    """File that receives stdout and stderr; None when the script was started by hand."""


def enter_rank() -> RankPlace:
    """Record this process, send its output to its log, and watch over its supervisor.

    Call it before anything is imported that may print or fail. Without `TUTOR_RUN` (a script started
    by hand) nothing is changed.
    """
    rank = int(os.environ.get("RANK", "0"))
    world_size = int(os.environ.get("WORLD_SIZE", "1"))
    attempt = int(os.environ.get("TUTOR_ATTEMPT", "0"))
    run = os.environ.get("TUTOR_RUN")
    # Threads that spin while they wait make a shared CPU several times slower than threads that sleep.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    faulthandler.enable()
    if not run:
        return RankPlace(rank=rank, world_size=world_size, attempt=attempt, log=None)
    logs = attempt_logs(Path(run), attempt)
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / f"rank-{rank}.log"
    _redirect(log)
    faulthandler.register(signal.SIGUSR2, all_threads=True, chain=False)
    record(logs / f"rank-{rank}.json", identify(role=f"rank-{rank}"))
    atexit.register((logs / f"rank-{rank}.ended").touch)
    owner = _supervisor()
    if owner is not None:
        if not is_alive(owner):
            sys.exit(ORPHANED)
        threading.Thread(target=_watch, args=(owner,), name="tutor-watch", daemon=True).start()
    return RankPlace(rank=rank, world_size=world_size, attempt=attempt, log=log)


def leave_rank(code: int) -> NoReturn:
    """End this process with `code`: exit handlers run, threads are waited for, nothing is torn down.

    A thread of a process group may let go of a tensor while the interpreter is being finalized. It then needs
    an interpreter that is no longer there, and aborts a process whose work is done (seen with gloo).
    """
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()  # pyright: ignore[reportPrivateUsage]
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    os._exit(code)


def attempt_logs(run: Path, attempt: int) -> Path:
    """Return the folder with the logs of one attempt."""
    return run / "logs" / f"attempt-{attempt}"


def _redirect(log: Path) -> None:
    """Send file descriptors 1 and 2 to `log`, so that libraries written in C are kept as well."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(ValueError, OSError):
            stream.flush()
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8", errors="replace", line_buffering=True)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def _supervisor() -> ProcessId | None:
    pid, _, started = os.environ.get("TUTOR_SUPERVISOR", "").partition(":")
    return ProcessId(pid=int(pid), started=float(started)) if pid and started else None


def _watch(owner: ProcessId) -> None:
    """Ask this rank to stop once its supervisor or its launcher is gone; insist after the grace.

    SIGTERM sets the training code's stop flag, which all ranks share at the next step: they end at
    the same step with a checkpoint. Whoever hangs in a collective is ended by the second signal.
    """
    launcher = os.getppid()
    pause = threading.Event()
    while is_alive(owner) and os.getppid() == launcher:
        pause.wait(_LOOK_SECONDS)
    sys.stderr.write("tutor: the supervisor or the launcher is gone; stopping with a checkpoint.\n")
    os.kill(os.getpid(), signal.SIGTERM)
    pause.wait(float(os.environ.get("TUTOR_GRACE") or _GRACE_SECONDS))
    os.kill(os.getpid(), signal.SIGKILL)
