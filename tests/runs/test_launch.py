from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.runs.test_follow import event
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.job import Job
from tutor_agent.core.processes import ProcessId
from tutor_agent.core.ranks import ORPHANED
from tutor_agent.runs.launch import local
from tutor_agent.runs.launch.argv import launch_argv, rank_environment
from tutor_agent.runs.launch.record import Timing
from tutor_agent.runs.progress import Progress
from tutor_agent.runs.stall import StallClock

if TYPE_CHECKING:
    from tests.runs.conftest import Runs

SCRIPT = Path(__file__).parent / "fake_train.py"
JOB = Job(
    script="/a b/train.py",
    arguments=("--run", "{run}", "--model", "{model}", "--note", "{other}"),
    environment={"NOTE": "1", "TOKENIZERS_PARALLELISM": "true"},
    processes=2,
)


def test_the_command_is_a_list_and_fills_its_places() -> None:
    argv = launch_argv(
        JOB, run=Path("/r {model}/跑-1"), model=Path("/m"), resume=Path("/c/checkpoint-3")
    )
    head = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    assert argv[:6] == head
    assert argv[6:] == [
        "--", "/a b/train.py", "--run", "/r {model}/跑-1", "--model", "/m", "--note", "{other}",
        "--resume", "/c/checkpoint-3",
    ]  # fmt: skip


def test_the_job_has_the_last_word_on_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    environment = rank_environment(
        JOB,
        run=Path("/r"),
        attempt=2,
        supervisor=ProcessId(pid=7, started=1.25),
        grace_seconds=90,
    )
    assert environment["TUTOR_SUPERVISOR"] == "7:1.25"
    assert environment["TUTOR_ATTEMPT"] == "2"
    assert environment["TOKENIZERS_PARALLELISM"] == "true"
    assert environment["OMP_NUM_THREADS"] == "3"
    assert environment["PYTHONSAFEPATH"] == "1"


def test_several_machines_are_refused(runs: Runs) -> None:
    with pytest.raises(NotPossibleError, match="2 machines"):
        local.start(runs.make(), Job(script="x", nodes=2), model_path=runs.root)


def test_a_rank_started_by_hand_keeps_its_terminal(runs: Runs) -> None:
    folder = runs.make()
    command = [sys.executable, str(SCRIPT), "--run", str(folder.path), "--model", "m"]
    result = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "rank 0 begins" in result.stdout
    assert not list(folder.logs.iterdir())


def test_a_rank_whose_supervisor_is_gone_does_not_begin(runs: Runs) -> None:
    folder = runs.make()
    command = [sys.executable, str(SCRIPT), "--run", str(folder.path), "--model", "m"]
    gone = {"TUTOR_RUN": str(folder.path), "TUTOR_SUPERVISOR": "1:1.0"}
    result = subprocess.run(command, env={**os.environ, **gone}, check=False, timeout=60)
    assert result.returncode == ORPHANED
    assert not folder.events.read_text(encoding="utf-8")


def test_silence_is_measured_by_steps_pauses_and_startup() -> None:
    timing = Timing(stall=100, startup=1000)
    progress, clock = Progress(), StallClock(timing, now=0)
    assert not clock.begins(progress, 900)
    for seq, now in ((1, 910.0), (2, 911.0), (3, 1000.0)):
        entry = event(seq, seq, loss=1.0)
        progress.add(entry)
        clock.heard(entry, now)
    assert clock.limit(progress) == 3 * 89
    clock.heard(event(4, 3, "heartbeat"), 1200)
    assert not clock.begins(progress, 1266)
    assert clock.begins(progress, 1268)
    assert not clock.begins(progress, 1269)
    clock.heard(event(5, 4, loss=1.0), 1270)
    assert not clock.stalled
