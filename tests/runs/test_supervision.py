"""Real supervisors, real torch.distributed.run; only the training itself is a fake."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from tests.support import wait_for
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.findings import Finding
from tutor_agent.core.job import Job
from tutor_agent.core.processes import is_alive
from tutor_agent.core.text import Text
from tutor_agent.runs import control
from tutor_agent.runs.launch import local
from tutor_agent.runs.launch.record import Timing
from tutor_agent.runs.processes import launcher_of, living, ranks_of, strays
from tutor_agent.runs.view import read_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.runs.conftest import Runs
    from tutor_agent.runs.folder import RunFolder

    Stepped = Callable[[RunFolder, int], None]


def test_two_ranks_run_to_their_end(runs: Runs) -> None:
    folder = runs.start(processes=2)
    owner = folder.status().supervisor
    assert owner is not None
    assert os.getsid(owner.pid) not in {os.getsid(0), 0}
    assert runs.ended(folder) == "completed"
    view = read_run(folder.path)
    assert (view.step, view.total_steps, view.attempt) == (8, 8, 0)
    assert (view.held_out_before, view.held_out_after) == (2.0, 1.0)
    assert view.best == pytest.approx(2.5 / 6)
    assert "中文也行" in (folder.attempt(0) / "rank-1.log").read_text(encoding="utf-8")
    report = folder.report.read_text(encoding="utf-8")
    assert "50.0% lower" in report
    assert "低 50.0%" in report


def test_a_path_with_spaces_and_chinese(runs: Runs) -> None:
    runs.root = runs.root.parent / "我的 训练 runs"
    assert runs.ended(runs.start(steps=3)) == "completed"


def test_two_runs_at_once(runs: Runs) -> None:
    first, second = runs.start(pace=0.1), runs.start(pace=0.1)
    assert first.name != second.name
    assert runs.ended(first) == runs.ended(second) == "completed"


def test_a_stop_saves_a_checkpoint_and_a_resume_goes_on(runs: Runs, stepped: Stepped) -> None:
    allowed = runs.plan.guard.model_copy(update={"autopilot": "bounded"})
    folder = runs.start(runs.make(guard=allowed), processes=2, steps=40, pace=0.1)
    stepped(folder, 4)
    with pytest.raises(NotPossibleError):
        control.resume(folder)
    control.stop(folder)
    assert not control.alive(folder)
    stopped = read_run(folder.path)
    assert stopped.state == "stopped"
    assert stopped.last_good is not None
    assert stopped.last_good.endswith(f"checkpoint-{stopped.step}")
    assert not stopped.trials, "the autopilot leaves alone what a person has stopped"
    (folder.checkpoints / "checkpoint-39").mkdir()

    checkpoint = control.resume(folder)
    assert checkpoint is not None
    assert str(checkpoint) == stopped.last_good
    assert (folder.checkpoints / "rejected" / "checkpoint-39").is_dir()
    assert runs.ended(folder) == "completed"
    view = read_run(folder.path)
    assert (view.attempt, view.step) == (1, 40)
    with pytest.raises(NotPossibleError):
        control.resume(folder)
    with pytest.raises(NotPossibleError):
        control.stop(folder)


def test_a_killed_rank_is_named(runs: Runs) -> None:
    folder = runs.start(processes=2, trouble="kill@4@1")
    assert runs.ended(folder) == "failed"
    reason = read_run(folder.path).reason
    assert reason is not None
    assert reason.en.startswith("rank 1 was killed (SIGKILL)")
    assert not folder.load_findings(), "a kill by hand is no fault of memory, script or plan"
    assert not strays(folder)
    folder.add_finding(
        Finding(cause="x", title=Text.same("x"), confidence=1, evidence=(), severity="warn")
    )
    assert control.resume(folder) == folder.checkpoints / "checkpoint-3"
    assert "x" not in {finding.cause for finding in folder.load_findings()}
    assert (folder.attempt(0) / "findings.jsonl").is_file()
    assert runs.ended(folder) == "completed"


def test_a_traceback_is_the_reason_and_keeps_no_secret(runs: Runs) -> None:
    folder = runs.start(processes=2, trouble="raise@2@0")
    assert runs.ended(folder) == "failed"
    reason = read_run(folder.path).reason
    assert reason is not None
    assert reason.en.startswith("rank 0 failed: ValueError: the fake is broken")
    assert "abcdefgh12345678" not in folder.report.read_text(encoding="utf-8")


def test_a_halt_is_told_from_a_failure(runs: Runs) -> None:
    folder = runs.start(trouble="halt@5@0")
    assert runs.ended(folder) == "halted"
    view = read_run(folder.path)
    assert view.reason is not None
    assert view.reason.zh == "第 5 步：损失变成了 NaN 或无穷大"


def test_kill_of_the_launcher_leaves_no_orphan(runs: Runs, stepped: Stepped) -> None:
    folder = runs.start(processes=2, steps=500, pace=0.05)
    stepped(folder, 4)
    launcher = launcher_of(folder, 0)
    assert launcher is not None
    os.kill(launcher.pid, signal.SIGKILL)
    assert runs.ended(folder) == "failed"
    view = read_run(folder.path)
    assert view.reason is not None
    assert "launcher was ended by signal 9" in view.reason.en
    assert view.last_good is not None
    assert view.last_good.endswith(f"checkpoint-{view.step}")


def test_kill_of_the_supervisor_loses_nothing(runs: Runs, stepped: Stepped) -> None:
    folder = runs.start(processes=2, steps=60, pace=0.1)
    stepped(folder, 4)
    owner = folder.status().supervisor
    assert owner is not None
    os.kill(owner.pid, signal.SIGKILL)
    wait_for(lambda: not is_alive(owner))
    assert read_run(folder.path).state == "lost"
    wait_for(lambda: not living(folder), what="ranks stop by themselves")
    view = read_run(folder.path)
    assert view.state == "stopped"
    assert view.last_good is not None
    assert view.last_good.endswith(f"checkpoint-{view.step}")
    control.resume(folder)
    assert runs.ended(folder) == "completed"
    assert read_run(folder.path).step == 60


def test_kill_of_everything_is_lost_and_resumes(runs: Runs, stepped: Stepped) -> None:
    folder = runs.start(steps=30, pace=0.1)
    stepped(folder, 7)
    owner, launcher = folder.status().supervisor, launcher_of(folder, 0)
    assert owner is not None
    assert launcher is not None
    victims = [owner, launcher, *ranks_of(folder, 0).values()]
    for victim in victims:
        os.kill(victim.pid, signal.SIGKILL)
    wait_for(lambda: not any(map(is_alive, victims)))
    lost = read_run(folder.path)
    assert lost.state == "lost"
    assert lost.reason is not None
    assert control.resume(folder) == folder.checkpoints / "checkpoint-6"
    assert runs.ended(folder) == "completed"


def test_a_stall_is_noticed_and_a_stop_ends_it(runs: Runs) -> None:
    folder = runs.start(processes=2, stall=0.8, trouble="hang@3@1")
    wait_for(lambda: folder.load_findings(), what="a finding")
    (finding,) = folder.load_findings()
    assert finding.cause == "rank_desync"
    wait_for(lambda: read_run(folder.path).reason is not None)
    log = folder.attempt(0) / "rank-1.log"
    wait_for(lambda: "in trouble" in log.read_text(encoding="utf-8"), what="stacks in the log")
    control.stop(folder, grace_seconds=0.5)
    assert not living(folder)
    assert read_run(folder.path).state == "stopped"


def test_a_terminated_supervisor_stops_the_run_in_order(runs: Runs, stepped: Stepped) -> None:
    folder = runs.start(steps=500, pace=0.05)
    stepped(folder, 2)
    owner = folder.status().supervisor
    assert owner is not None
    os.kill(owner.pid, signal.SIGTERM)
    assert runs.ended(folder) == "stopped"
    assert read_run(folder.path).last_good is not None


def test_a_script_that_is_not_there_is_a_failure_with_a_reason(
    runs: Runs, tmp_path: object
) -> None:

    folder = runs.make()
    job = Job(script=str(runs.root / "no such script.py"))
    local.start(folder, job, model_path=runs.root, timing=Timing(poll=0.05))
    assert runs.ended(folder) == "failed"
    assert folder.status().reason is not None


def test_one_run_has_one_supervisor(runs: Runs) -> None:
    folder = runs.start(steps=200)
    with pytest.raises(NotPossibleError):
        runs.start(folder)
    control.stop(folder)
