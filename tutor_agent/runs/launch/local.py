"""Starting a run on this machine: a detached supervisor that outlives whoever asked for it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tutor_agent.core.errors import LaunchError, NotPossibleError
from tutor_agent.core.processes import is_alive
from tutor_agent.runs.folder import RunFolder, Status, write_status
from tutor_agent.runs.launch.argv import launch_argv, with_own_package
from tutor_agent.runs.launch.record import Launch, Timing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tutor_agent.core.job import Job

_START_SECONDS = 120


def start(
    folder: RunFolder,
    job: Job,
    *,
    model_path: Path,
    resume: Path | None = None,
    timing: Timing | None = None,
    argv: Sequence[str] | None = None,
) -> None:
    """Start the supervisor of `folder`; returns once it has taken over.

    Args:
        folder: The run.
        job: What is run.
        model_path: Local folder of the model.
        resume: Checkpoint to go on from.
        timing: How patient the supervisor is.
        argv: The command that starts all ranks, by default torch.distributed.run with the job's script.

    Raises:
        NotPossibleError: The job needs several machines, or the run is under way.
        LaunchError: The supervisor could not start; the message ends with its own words.
    """
    if job.nodes > 1:
        raise NotPossibleError(
            f"The job needs {job.nodes} machines; a local start has one. Set launch.nodes to 1.",
            f"该任务需要 {job.nodes} 台机器，而本地启动只有一台。请把 launch.nodes 设为 1。",
        )
    owner = folder.status().supervisor
    if owner is not None and is_alive(owner):
        raise NotPossibleError(
            f"{folder.name!r} is under way already (supervisor process {owner.pid}).",
            f"{folder.name!r} 已在运行（监管进程 {owner.pid}）。",
        )
    # The ranks work in another folder than whoever asked: every path must hold there as well.
    folder, model_path = RunFolder(folder.path.resolve()), model_path.resolve()
    resume = resume.resolve() if resume else None
    command = argv or launch_argv(job, run=folder.path, model=model_path, resume=resume)
    launch = Launch(
        attempt=folder.last_attempt() + 1,
        job=job,
        model=str(model_path),
        resume=str(resume) if resume else None,
        argv=tuple(command),
        timing=timing or Timing(),
    )
    launch.save(folder)
    _put_findings_aside(folder, launch.attempt)
    folder.stop_marker.unlink(missing_ok=True)
    try:
        _spawn(folder, launch.attempt)
    except LaunchError as error:
        if folder.status().supervisor == owner:
            write_status(folder, Status(state="failed", attempt=launch.attempt, reason=error.text))
        raise


def _put_findings_aside(folder: RunFolder, attempt: int) -> None:
    """Keep what was wrong with the attempt before beside its logs: the new one is judged by itself."""
    if attempt and folder.findings.exists():
        folder.findings.replace(folder.attempt(attempt - 1) / folder.findings.name)


def _spawn(folder: RunFolder, attempt: int) -> None:
    log = folder.attempt(attempt) / "supervisor.log"
    command = [sys.executable, "-m", "tutor_agent.runs.supervise", str(folder.path)]
    environment = {**os.environ, **with_own_package(os.environ), "PYTHONSAFEPATH": "1"}
    with log.open("ab") as stream:
        try:
            result = subprocess.run(
                [*command, "--attempt", str(attempt)],
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
                env={**environment, "PYTHONUTF8": "1"},
                timeout=_START_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise _not_started(folder, str(error)) from None
    if result.returncode:
        words = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise _not_started(folder, words[-1] if words else f"exit code {result.returncode}")


def _not_started(folder: RunFolder, words: str) -> LaunchError:
    return LaunchError(
        f"The supervisor of {folder.name!r} did not start: {words}. See {str(folder.logs)!r}, then start again.",
        f"{folder.name!r} 的监管进程没有启动：{words}。请查看 {str(folder.logs)!r}，再重新启动。",
    )
