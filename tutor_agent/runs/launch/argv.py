"""The command line and the environment of the ranks."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import tutor_agent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutor_agent.core.job import Job
    from tutor_agent.core.processes import ProcessId

LAUNCHER = "torch.distributed.run"
_PLACE = re.compile(r"\{\w+\}")


def launch_argv(job: Job, *, run: Path, model: Path, resume: Path | None = None) -> list[str]:
    """Return the command that starts all ranks of `job` on this machine.

    The launcher is the same for one process and for eight, so that one process takes no other way.
    """
    places = {"{run}": str(run), "{model}": str(model)}
    arguments = [_fill(argument, places) for argument in job.arguments]
    if resume is not None:
        arguments += ["--resume", str(resume)]
    head = [sys.executable, "-m", LAUNCHER, "--standalone"]
    # Without `--` the launcher takes the script's `--run` for an abbreviation of its own `--run-path`.
    return [*head, "--nproc-per-node", str(job.processes), "--", job.script, *arguments]


def rank_environment(
    job: Job, *, run: Path, attempt: int, supervisor: ProcessId, grace_seconds: float
) -> dict[str, str]:
    """Return the environment of launcher and ranks: ours, over the person's, under the job's own."""
    ours = {
        "TUTOR_RUN": str(run),
        "TUTOR_ATTEMPT": str(attempt),
        "TUTOR_SUPERVISOR": f"{supervisor.pid}:{supervisor.started!r}",
        "TUTOR_GRACE": str(grace_seconds),
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "PYTHONUTF8": "1",
        # Without it a restarted attempt reads the addresses of the dead one from a shared store.
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
        # Launchers before torch 2.12 ignore it and kill 30 s after SIGTERM: stops therefore signal
        # the ranks themselves.
        "TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(max(30, round(grace_seconds))),
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
    }
    inherited = dict(os.environ)
    threads = inherited.get("OMP_NUM_THREADS") or str(max(1, usable_cores() // job.processes))
    paths = with_own_package(inherited)
    return {**inherited, **paths, **ours, "OMP_NUM_THREADS": threads, **job.environment}


def with_own_package(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the PYTHONPATH entry that lets a child import this package from a bare checkout."""
    root = Path(tutor_agent.__file__).resolve().parent.parent
    # An installed package is found anyway, and site-packages must not come before the standard library.
    if root.name in {"site-packages", "dist-packages"}:
        return {}
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    return {"PYTHONPATH": os.pathsep.join([str(root), *(p for p in paths if p != str(root))])}


def usable_cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _fill(argument: str, places: dict[str, str]) -> str:
    """Fill the places in one pass: a path may hold braces of its own."""
    return _PLACE.sub(lambda match: places.get(match[0], match[0]), argument)
