"""What one attempt was started with, kept beside its logs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.job import Job
from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from tutor_agent.runs.folder import RunFolder


class Timing(Contract):
    """How patient the supervisor is, in seconds."""

    poll: float = 0.5
    """Between two looks at events and processes."""
    stall: float = 120.0
    """Silence that counts as a hang, unless ten median steps or the longest pause so far are longer."""
    startup: float = 1800.0
    """Silence that counts as a hang before the first step: imports, loading, tokenising."""
    grace: float = 300.0
    """A stop may take so long, with its checkpoint, before processes are ended by force."""


class Launch(Contract):
    """One attempt."""

    attempt: int
    """0 for the first start, one more for every resume."""
    job: Job
    """What is run."""
    model: str
    """Local model folder."""
    resume: str | None = None
    """Checkpoint to go on from."""
    argv: tuple[str, ...]
    """The command that starts all ranks."""
    timing: Timing = Timing()
    """How patient the supervisor is."""

    @classmethod
    def load(cls, folder: RunFolder, attempt: int) -> Self:
        """Read what attempt number `attempt` was started with.

        Raises:
            NotFoundError: That attempt was never started.
        """
        path = folder.attempt(attempt) / "launch.json"
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            raise NotFoundError(
                f"{folder.name!r} has no readable record of attempt {attempt} ({str(path)!r}). "
                "Start its plan anew: tutor run " + str(folder.plan_path),
                f"{folder.name!r} 没有第 {attempt} 次启动的可读记录（{str(path)!r}）。"
                "请重新启动该计划：tutor run " + str(folder.plan_path),
            ) from None

    def save(self, folder: RunFolder) -> None:
        """Write the record."""
        write_atomic(folder.attempt(self.attempt) / "launch.json", self.model_dump_json(indent=1))
