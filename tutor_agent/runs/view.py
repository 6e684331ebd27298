"""A run as people see it, put together from its folder."""

from __future__ import annotations

import time
from functools import lru_cache
from typing import TYPE_CHECKING

from tutor_agent.core.checkpoints import last_good
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, TutorError
from tutor_agent.core.findings import Finding
from tutor_agent.core.plan import Plan
from tutor_agent.core.processes import is_alive
from tutor_agent.core.redact import redact
from tutor_agent.core.text import Text
from tutor_agent.diagnose.autopsy import autopsy_of
from tutor_agent.runs.folder import ACTIVE, RunFolder, State, Status, is_run
from tutor_agent.runs.follow import Follower
from tutor_agent.runs.ledger import Trial, ledger, read_lineages
from tutor_agent.runs.measures import MetricChange, metric_changes
from tutor_agent.runs.processes import living
from tutor_agent.runs.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from tutor_agent.runs.curves import Curves
    from tutor_agent.runs.folder import Lineage

_START_SECONDS = 180.0
"""Between the making of a folder and its supervisor's first word: one that takes longer never came."""


class SamplePair(Contract):
    """One held-out prompt, answered before and after training."""

    prompt: str
    """What was asked."""
    reference: str = ""
    """The answer in the data."""
    before: str | None = None
    """The answer of the untuned model."""
    after: str | None = None
    """The answer of the tuned model."""


class Figures(Contract):
    """The figures of a run, the newest of each."""

    loss: float | None = None
    """Training loss."""
    eval_loss: float | None = None
    """Validation loss."""
    best: float | None = None
    """Lowest validation loss."""
    best_step: int | None = None
    """Step of the lowest validation loss."""
    learning_rate: float | None = None
    """Learning rate."""
    grad_norm: float | None = None
    """Gradient norm before clipping."""
    tokens_per_second: float | None = None
    """Speed over all devices."""
    memory_gib: float | None = None
    """Memory in use on the first device."""
    seconds: float | None = None
    """Time from the first event to the newest one."""
    seconds_left: float | None = None
    """Time to the last step at the recent pace; None when it does not run or cannot be said yet."""
    held_out_before: float | None = None
    """Loss on the test rows before training."""
    held_out_after: float | None = None
    """Loss on the test rows with the kept weights."""
    metrics: tuple[MetricChange, ...] = ()
    """The task's metrics on the test rows, its own first."""
    answered: int | None = None
    """Answers that were written for them; None when they needed none."""


class Repairs(Figures):
    """What a run has to do with repairs."""

    parent: str | None = None
    """The run it was repaired or continued from."""
    fault_gone: bool | None = None
    """For a repaired run: whether the fault of its parent is gone; None while that cannot be said."""
    held: int | None = None
    """For a repaired run: steps done without that fault."""
    repaired_by: str | None = None
    """The repaired run that the autopilot started when this one had ended."""
    autopilot: Text | None = None
    """What the autopilot did about the end, or why it did nothing."""
    trials: tuple[Trial, ...] = ()
    """The ledger: the repairs that led to this run, and those that were made of it, oldest first."""


class RunView(Repairs):
    """One run."""

    name: str
    """Its name."""
    path: str
    """Its folder."""
    state: State
    """Where it stands; `lost` when its supervisor is gone and nobody wrote the end."""
    attempt: int
    """0 for the first start, one more for every resume."""
    step: int
    """Optimizer steps done."""
    total_steps: int | None
    """Optimizer steps planned; None until training has begun."""
    plan: Plan
    """The plan as it was started."""
    samples: tuple[SamplePair, ...] = ()
    """Answers before and after."""
    findings: tuple[Finding, ...] = ()
    """What went wrong."""
    reason: Text | None = None
    """Why it is in this state, when that is not plain."""
    cause: str | None = None
    """Slug of the fault that ended it."""
    last_good: str | None = None
    """Checkpoint that a resume would go on from."""
    story: tuple[Text, ...] = ()
    """How it came to be halted, told from the kept scene, a sentence each."""

    @property
    def active(self) -> bool:
        """Whether processes work on it."""
        return self.state in ACTIVE


class LiveRun:
    """A run that is read again and again: each `poll` costs only what is new."""

    def __init__(self, path: Path) -> None:
        self.folder = RunFolder(path)
        self.progress = Progress()
        self._follower = Follower(self.folder)
        self._plan = _load_plan(self.folder)

    @property
    def curves(self) -> Curves:
        """The curves up to the last `poll`."""
        return self.progress.curves

    def poll(self) -> RunView:
        """Read what is new and return the run as it stands."""
        for event in self._follower.poll():
            self.progress.add(event)
        return _view(self.folder, self._plan, self.progress)


def read_run(path: Path) -> RunView:
    """Return the run in the folder at `path`.

    Raises:
        NotFoundError: There is no run.
    """
    folder = RunFolder(path)
    return _view(folder, _load_plan(folder), _read_progress(folder))


def list_runs(root: Path) -> tuple[RunView, ...]:
    """Return the runs under `root`, newest first; a folder that cannot be read is left out."""
    views: list[RunView] = []
    lineages = read_lineages(root)
    for path in sorted(filter(is_run, _children(root)), key=_created, reverse=True):
        try:
            folder = RunFolder(path)
            plan, progress = _load_plan(folder), _read_progress(folder)
            views.append(_view(folder, plan, progress, lineages))
        except TutorError:
            continue
    return tuple(views)


def settled_status(folder: RunFolder, progress: Progress | None = None) -> Status:
    """Return the status, corrected where its writer died before it could write the end."""
    status = folder.status()
    owner = status.supervisor
    if status.state not in ACTIVE or (owner is not None and is_alive(owner)):
        return status
    if owner is None and time.time() - status.updated < _START_SECONDS:
        return status
    progress = progress or _read_progress(folder)
    current = progress.attempt == status.attempt
    ended = progress.ended.payload.get("state") if progress.ended is not None and current else None
    state = ended if ended in {"completed", "halted", "stopped", "failed"} else "lost"
    reason = _lost_reason(folder) if state == "lost" else None
    changes = {"state": state, "reason": reason, "step": max(status.step, progress.step)}
    return status.model_copy(update=changes)


def _lost_reason(folder: RunFolder) -> Text:
    if living(folder):
        return Text(
            en="the supervisor is gone; the ranks are saving a checkpoint and stopping",
            zh="监管进程已不在；训练进程正在保存检查点并停止",
        )
    return Text(
        en="the supervisor is gone and nobody wrote the end; resume goes on from the last good checkpoint",
        zh="监管进程已不在，也没有结束记录；恢复运行会从最后一个可靠的检查点继续",
    )


def _load_plan(folder: RunFolder) -> Plan:
    if not folder.plan_path.is_file():
        raise NotFoundError(
            f"{str(folder.path)!r} is no run: it has no plan.yaml. `tutor runs` lists the runs.",
            f"{str(folder.path)!r} 不是一次运行：其中没有 plan.yaml。`tutor runs` 可列出所有运行。",
        )
    return folder.load_plan()


def _read_progress(folder: RunFolder) -> Progress:
    """Return what the events add up to; unchanged logs are not read twice. Never change the result."""
    try:
        state = folder.events.stat()
    except OSError:
        return Progress()
    return _progress_of(folder, (state.st_ino, state.st_size, state.st_mtime_ns))


@lru_cache(maxsize=64)
def _progress_of(folder: RunFolder, version: tuple[int, int, int]) -> Progress:
    del version
    return Progress(Follower(folder).poll())


def _view(
    folder: RunFolder,
    plan: Plan,
    progress: Progress,
    lineages: Mapping[str, Lineage] | None = None,
) -> RunView:
    status = settled_status(folder, progress)
    good = last_good(folder.checkpoints)
    current = progress.attempt == status.attempt
    step = progress.step if current else status.step
    figures = _figures(plan, progress, running=status.state in ACTIVE)
    return RunView(
        name=folder.name,
        path=str(folder.path),
        state=status.state,
        attempt=status.attempt,
        step=step,
        total_steps=progress.total_steps or status.total_steps,
        plan=plan,
        samples=_samples(progress),
        findings=folder.load_findings(),
        reason=status.reason,
        cause=status.cause,
        last_good=str(good) if good else None,
        parent=folder.load_lineage().parent,
        fault_gone=status.fault_gone,
        held=status.held,
        repaired_by=status.repaired_by,
        autopilot=status.autopilot,
        trials=ledger(folder, lineages, status=status, read=settled_status),
        story=_story(folder) if current and progress.halted is not None else (),
        **{name: getattr(figures, name) for name in Figures.model_fields},
    )


def _story(folder: RunFolder) -> tuple[Text, ...]:
    try:
        version = (folder.scene / "scene.json").stat().st_mtime_ns
    except OSError:
        return ()
    return _story_of(folder, version)


@lru_cache(maxsize=64)
def _story_of(folder: RunFolder, version: int) -> tuple[Text, ...]:
    del version
    told = autopsy_of(folder.path)
    return told.story if told is not None else ()


def _figures(plan: Plan, progress: Progress, *, running: bool) -> Figures:
    last: Callable[[str], float | None] = progress.curves.last
    best = progress.curves.best()
    held_out = {phase: event.number("loss") for phase, event in progress.held_out.items()}
    begun, now = progress.first_time, progress.last_time
    return Figures(
        loss=last("loss"),
        eval_loss=last("eval_loss"),
        best=best.value if best else None,
        best_step=best.step if best else None,
        learning_rate=last("learning_rate"),
        grad_norm=last("grad_norm"),
        tokens_per_second=last("tokens_per_second"),
        memory_gib=last("memory_gib"),
        seconds=now - begun if begun is not None and now is not None else None,
        seconds_left=progress.seconds_left() if running else None,
        held_out_before=held_out.get("before"),
        held_out_after=held_out.get("after"),
        metrics=metric_changes(plan, progress.held_out),
        answered=_answered(progress),
    )


def _answered(progress: Progress) -> int | None:
    counts = [event.number("answered") for event in progress.held_out.values()]
    least = min((count for count in counts if count is not None), default=None)
    return None if least is None else int(least)


def _samples(progress: Progress) -> tuple[SamplePair, ...]:
    pairs: dict[str, dict[str, str]] = {}
    for (prompt, phase), event in progress.samples.items():
        pair = pairs.setdefault(prompt, {"prompt": prompt})
        if phase in {"before", "after"}:
            pair[phase] = redact(str(event.payload.get("answer", "")))
        pair["reference"] = str(event.payload.get("reference") or pair.get("reference", ""))
    return tuple(SamplePair.model_validate(pair) for pair in pairs.values())


def _children(root: Path) -> list[Path]:
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []


def _created(path: Path) -> tuple[int, str]:
    try:
        return (path / "plan.yaml").stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name
