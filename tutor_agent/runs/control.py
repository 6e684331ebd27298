"""Stopping, resuming and finding runs."""

from __future__ import annotations

import difflib
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.checkpoints import is_good, last_good
from tutor_agent.core.errors import FailedError, NotFoundError, NotPossibleError
from tutor_agent.core.processes import is_alive
from tutor_agent.core.storage import write_atomic
from tutor_agent.runs.folder import ACTIVE, RunFolder, is_run
from tutor_agent.runs.launch import local
from tutor_agent.runs.launch.record import Launch
from tutor_agent.runs.processes import end, launcher_of, living, ranks_of, send, sweep, wait_until
from tutor_agent.runs.view import settled_status

if TYPE_CHECKING:
    from tutor_agent.core.job import Job

_CLOSING_SECONDS = 60.0


def alive(folder: RunFolder) -> bool:
    """Return whether the supervisor, the launcher or a rank of the run still works."""
    owner = folder.status().supervisor
    return (owner is not None and is_alive(owner)) or bool(living(folder))


def stop(folder: RunFolder, grace_seconds: float | None = None) -> None:
    """Ask for a stop with a checkpoint, and return when every process has ended.

    After the grace processes are ended by force.

    Raises:
        NotPossibleError: The run is not under way.
        FailedError: A process survived.
    """
    if not alive(folder):
        state = settled_status(folder).state
        raise NotPossibleError(
            f"{folder.name!r} is not under way (state {state}); there is nothing to stop.",
            f"{folder.name!r} 没有在运行（状态 {state}），无需停止。",
        )
    grace = _grace(folder) if grace_seconds is None else grace_seconds
    write_atomic(folder.stop_marker, f"{grace}\n")
    owner = folder.status().supervisor
    if owner is not None and is_alive(owner):
        ended = wait_until(lambda: not alive(folder), grace + _CLOSING_SECONDS)
        if not ended:
            end([owner], 5)
    else:
        ask(folder)
    left = sweep(folder, grace)
    if left:
        names = ", ".join(f"{identity.role} {identity.pid}" for identity in left)
        raise FailedError(
            f"{folder.name!r}: these processes did not end: {names}. They may wait for the driver or the disk.",
            f"{folder.name!r}：以下进程没有结束：{names}。它们可能在等待驱动或磁盘。",
        )


def ask(folder: RunFolder) -> None:
    """Pass a stop on to the ranks, or to the launcher while there are none yet.

    Launchers before torch 2.12 kill their ranks 30 s after a SIGTERM of their own, checkpoint or not.
    """
    attempt = folder.last_attempt()
    ranks = [identity for identity in ranks_of(folder, attempt).values() if is_alive(identity)]
    launcher = launcher_of(folder, attempt)
    send(ranks or ([launcher] if launcher else []), signal.SIGTERM)


def resume(
    folder: RunFolder, *, job: Job | None = None, model_path: Path | None = None
) -> Path | None:
    """Go on from the last good checkpoint, and return it; None starts from the beginning.

    `job` and `model_path` replace what the run was started with. Checkpoints that cannot be trusted
    are moved to `checkpoints/rejected/`.

    Raises:
        NotPossibleError: The run is under way, or complete.
        LaunchError: The supervisor could not start.
    """
    status = settled_status(folder)
    owner = status.supervisor
    if status.state not in ACTIVE and owner is not None:
        wait_until(lambda: not is_alive(owner), _CLOSING_SECONDS)
    if status.state in ACTIVE and alive(folder):
        raise NotPossibleError(
            f"{folder.name!r} is under way (state {status.state}). Stop it first: tutor stop {folder.name}.",
            f"{folder.name!r} 正在运行（状态 {status.state}）。请先停止：tutor stop {folder.name}。",
        )
    if status.state == "completed":
        raise NotPossibleError(
            f"{folder.name!r} is complete; there is nothing left to resume. Start a new run to train further.",
            f"{folder.name!r} 已经完成，没有可恢复的部分。要继续训练，请启动一次新的运行。",
        )
    last = Launch.load(folder, folder.last_attempt())
    sweep(folder, last.timing.grace)
    reject_broken(folder)
    checkpoint = last_good(folder.checkpoints)
    local.start(
        folder,
        job or last.job,
        model_path=model_path or Path(last.model),
        resume=checkpoint or _origin(folder),
        timing=last.timing,
    )
    return checkpoint


def reject_broken(folder: RunFolder) -> list[Path]:
    """Move checkpoints that cannot be trusted to `checkpoints/rejected/`; return their new places."""
    moved: list[Path] = []
    for checkpoint in sorted(folder.checkpoints.glob("checkpoint-*")):
        if is_good(checkpoint):
            continue
        rejected = folder.checkpoints / "rejected"
        rejected.mkdir(exist_ok=True)
        target, number = rejected / checkpoint.name, 1
        while target.exists():
            number += 1
            target = rejected / f"{checkpoint.name}.{number}"
        moved.append(checkpoint.rename(target))
    return moved


def find_run(root: Path, name: str) -> RunFolder:
    """Return the run called `name`; without its number the newest of that name.

    Raises:
        NotFoundError: There is none; near names are given.
    """
    names = sorted(path.name for path in root.iterdir() if is_run(path)) if root.is_dir() else []
    if name in names:
        return RunFolder(root / name)
    numbered = [known for known in names if known.rpartition("-")[0] == name]
    numbered = [known for known in numbered if known.rpartition("-")[2].isdigit()]
    if numbered:
        return RunFolder(root / max(numbered, key=lambda known: int(known.rpartition("-")[2])))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.3) or names[-3:]
    if not near:
        raise NotFoundError(
            f"There is no run {name!r}: {str(root)!r} holds no runs. Start one: tutor run plan.yaml.",
            f"没有名为 {name!r} 的运行：{str(root)!r} 中还没有运行。可以这样启动：tutor run plan.yaml。",
        )
    raise NotFoundError(
        f"There is no run {name!r} in {str(root)!r}. Nearest: {', '.join(near)}.",
        f"{str(root)!r} 中没有名为 {name!r} 的运行。相近的有：{'、'.join(near)}。",
    )


def _origin(folder: RunFolder) -> Path | None:
    """Return the parent's checkpoint that the run began from, while that still exists."""
    origin = folder.load_lineage().resume_from
    return Path(origin) if origin and Path(origin).is_dir() else None


def _grace(folder: RunFolder) -> float:
    try:
        return Launch.load(folder, folder.last_attempt()).timing.grace
    except NotFoundError:
        return 30.0
