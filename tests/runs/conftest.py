from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support import wait_for
from tutor_agent.core.job import Job
from tutor_agent.core.plan import Plan
from tutor_agent.runs import control
from tutor_agent.runs.folder import ACTIVE, RunFolder, create_run, is_run
from tutor_agent.runs.launch import local
from tutor_agent.runs.launch.record import Timing
from tutor_agent.runs.processes import end, sweep

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCRIPT = Path(__file__).parent / "fake_train.py"


@pytest.fixture
def plan() -> Plan:
    return Plan.model_validate(
        {
            "name": "fake",
            "skill": "lora",
            "task": "chat",
            "model": {"source": "some/model"},
            "data": {"train": "rows.jsonl"},
            "optim": {"learning_rate": 1e-4},
        }
    )


class Runs:
    """Makes and starts runs of the fake, and leaves no process behind."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.plan = root, plan
        self.made: list[RunFolder] = []

    def make(self, **changes: object) -> RunFolder:
        folder = create_run(self.root, self.plan.model_copy(update=changes), {})
        self.made.append(folder)
        return folder

    def start(
        self,
        folder: RunFolder | None = None,
        processes: int = 1,
        stall: float = 120,
        **fake: object,
    ) -> RunFolder:
        folder = folder or self.make()
        job = Job(
            script=str(SCRIPT),
            arguments=("--run", "{run}", "--model", "{model}"),
            environment={f"FAKE_{key.upper()}": str(value) for key, value in fake.items()},
            processes=processes,
            outputs=("result/adapter.txt",),
        )
        timing = Timing(poll=0.05, stall=stall, startup=120, grace=20)
        local.start(folder, job, model_path=self.root / "model", timing=timing)
        return folder

    def ended(self, folder: RunFolder) -> str:
        """Wait for the end of a run and return its state."""
        wait_for(lambda: folder.status().state not in ACTIVE, what=f"end of {folder.name}")
        wait_for(lambda: not control.alive(folder), what=f"no process of {folder.name}")
        return folder.status().state


@pytest.fixture
def runs(tmp_path: Path, plan: Plan) -> Iterator[Runs]:
    made = Runs(tmp_path / "runs", plan)
    yield made
    # The autopilot makes runs of its own.
    others = [RunFolder(path) for path in made.root.glob("*-*") if is_run(path)]
    for folder in {*made.made, *others}:
        owner = folder.status().supervisor
        if owner is not None:
            end([owner], 2)
        assert not sweep(folder, 2)


@pytest.fixture
def stepped() -> Callable[[RunFolder, int], None]:
    """Wait until a run has done so many steps."""

    def wait(folder: RunFolder, steps: int) -> None:
        wait_for(lambda: folder.status().step >= steps, what=f"step {steps} of {folder.name}")

    return wait
