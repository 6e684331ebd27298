"""The run folder: the one truth about a run. Everything else is an index that can be rebuilt."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from tutor_agent.core.advice import save_why
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.contract import Contract
from tutor_agent.core.findings import Finding
from tutor_agent.core.plan import Plan
from tutor_agent.core.processes import ProcessId
from tutor_agent.core.ranks import attempt_logs
from tutor_agent.core.storage import append_line, write_atomic
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutor_agent.core.advice import Why

State = Literal[
    "starting", "running", "stopping", "completed", "halted", "stopped", "failed", "lost"
]
ACTIVE: frozenset[State] = frozenset({"starting", "running", "stopping"})
"""States in which processes work."""


class Status(Contract):
    """Where a run stands; written by its supervisor only."""

    state: State
    """starting, running, stopping; completed, halted, stopped, failed; lost when nobody wrote the end."""
    attempt: int = 0
    """0 for the first start, one more for every resume."""
    step: int = 0
    """Optimizer steps done."""
    total_steps: int | None = None
    """Optimizer steps planned; None until training has begun."""
    reason: Text | None = None
    """Why it is in this state, when that is not plain."""
    cause: str | None = None
    """Slug of the fault that ended it, when one was found."""
    fault_gone: bool | None = None
    """For a repaired run: whether the fault of its parent is gone; None while that cannot be said."""
    held: int | None = None
    """For a repaired run: steps done without that fault."""
    autopilot: Text | None = None
    """What the autopilot did about the end, or why it did nothing; None when it was not allowed to act."""
    repaired_by: str | None = None
    """Name of the repaired run that the autopilot started."""
    updated: float = 0.0
    """Unix time of this record."""
    supervisor: ProcessId | None = None
    """The process that watches the run."""


class Lineage(Contract):
    """Where a run comes from; all empty for a first run."""

    parent: str | None = None
    """Name of the run that was repaired or continued."""
    cause: str | None = None
    """Slug of the fault that the repair answers."""
    fix: str | None = None
    """Id of the fix that was applied."""
    change: PlanChange = PlanChange()
    """How the plan differs from the parent's."""
    resume_from: str | None = None
    """Checkpoint the run began from; None for the model as published."""
    by: Literal["person", "autopilot"] = "person"
    """Who decided on the repair."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """Names of the files of a run, and the reading of the small ones."""

    path: Path

    @property
    def name(self) -> str:
        """The run's name."""
        return self.path.name

    @property
    def plan_path(self) -> Path:
        """The plan as it was started."""
        return self.path / "plan.yaml"

    @property
    def why_path(self) -> Path:
        """The reasons for the plan."""
        return self.path / "why.yaml"

    @property
    def lineage(self) -> Path:
        """Where the run comes from."""
        return self.path / "lineage.json"

    @property
    def environment(self) -> Path:
        """Machine, packages and data at the start."""
        return self.path / "environment.json"

    @property
    def events(self) -> Path:
        """The event log, written by rank 0."""
        return self.path / "events.jsonl"

    @property
    def findings(self) -> Path:
        """What went wrong, one finding a line."""
        return self.path / "findings.jsonl"

    @property
    def status_path(self) -> Path:
        """Where the run stands."""
        return self.path / "status.json"

    @property
    def logs(self) -> Path:
        """Output of all processes, one folder an attempt."""
        return self.path / "logs"

    @property
    def checkpoints(self) -> Path:
        """Checkpoints, and `rejected/` for those that cannot be trusted."""
        return self.path / "checkpoints"

    @property
    def scene(self) -> Path:
        """What the guard kept when it halted the run."""
        return self.path / "scene"

    @property
    def result(self) -> Path:
        """The tuned model or adapter."""
        return self.path / "result"

    @property
    def report(self) -> Path:
        """The summary for people."""
        return self.path / "report.md"

    @property
    def stop_marker(self) -> Path:
        """A stop is wanted while this file exists; it holds the seconds that the stop may take."""
        return self.path / "STOP"

    def attempt(self, number: int) -> Path:
        """Return the log folder of one attempt."""
        return attempt_logs(self.path, number)

    def last_attempt(self) -> int:
        """Return the number of the newest attempt, -1 before the first."""
        numbers = [int(p.name[8:]) for p in self.logs.glob("attempt-*") if p.name[8:].isdigit()]
        return max(numbers, default=-1)

    def status(self) -> Status:
        """Return what the supervisor wrote last; an unreadable record counts as lost."""
        try:
            return Status.model_validate_json(self.status_path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Status(state="lost", attempt=max(0, self.last_attempt()))

    def load_plan(self) -> Plan:
        """Return the plan as it was started."""
        return Plan.load(self.plan_path)

    def load_lineage(self) -> Lineage:
        """Return where the run comes from; empty when that is not recorded."""
        try:
            return Lineage.model_validate_json(self.lineage.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return Lineage()

    def load_environment(self) -> dict[str, Any]:
        """Return what was recorded of machine, packages and data."""
        try:
            return json.loads(self.environment.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def load_findings(self) -> tuple[Finding, ...]:
        """Return the surest finding of every cause, in the order of first appearance."""
        found: dict[str, Finding] = {}
        try:
            lines = self.findings.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return ()
        for line in lines:
            try:
                finding = Finding.model_validate_json(line)
            except ValueError:
                continue
            known = found.get(finding.cause)
            if known is None or finding.confidence >= known.confidence:
                found[finding.cause] = finding
        return tuple(found.values())

    def add_finding(self, finding: Finding) -> None:
        """Append a finding."""
        append_line(self.findings, finding.model_dump_json(), sync=True)


def write_status(folder: RunFolder, status: Status) -> Status:
    """Replace `status.json`, whole or not at all, and return what was written."""
    stamped = status.model_copy(update={"updated": time.time()})
    write_atomic(folder.status_path, stamped.model_dump_json())
    return stamped


def create_run(
    root: Path,
    plan: Plan,
    why: dict[str, Why],
    *,
    lineage: Lineage | None = None,
    facts: Mapping[str, Any] | None = None,
) -> RunFolder:
    """Make a new run folder `root/<name>-<n>`; it appears complete or not at all."""
    root.mkdir(parents=True, exist_ok=True)
    draft = RunFolder(Path(tempfile.mkdtemp(dir=root, prefix=".new-")))
    try:
        draft.path.chmod(0o755)
        for folder in (draft.logs, draft.checkpoints, draft.scene, draft.result):
            folder.mkdir()
        plan.save(draft.plan_path)
        save_why(why, draft.why_path)
        write_atomic(draft.lineage, (lineage or Lineage()).model_dump_json(indent=1))
        write_atomic(draft.environment, json.dumps(dict(facts or {}), ensure_ascii=False, indent=1))
        for log in (draft.events, draft.findings):
            log.touch()
        write_status(draft, Status(state="starting"))
        return RunFolder(_take_name(draft.path, root, plan.name))
    except BaseException:
        shutil.rmtree(draft.path, ignore_errors=True)
        raise


def is_run(path: Path) -> bool:
    """Return whether `path` is a run folder."""
    return (path / "plan.yaml").is_file() and not path.name.startswith(".")


def _take_name(draft: Path, root: Path, name: str) -> Path:
    """Rename the draft to the first free number; two starters never get the same one."""
    pattern = re.compile(rf"{re.escape(name)}-(\d+)")
    taken = [int(m[1]) for p in root.iterdir() if (m := pattern.fullmatch(p.name))]
    number = max(taken, default=0)
    while True:
        number += 1
        target = root / f"{name}-{number}"
        if target.exists():
            continue
        try:
            return draft.rename(target)
        except OSError:
            if not target.exists():
                raise
