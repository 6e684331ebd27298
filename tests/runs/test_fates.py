from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.runs.test_follow import event
from tutor_agent.core.processes import ProcessId, record
from tutor_agent.runs.fates import Outcome, conclude, read_fates
from tutor_agent.runs.folder import RunFolder, create_run
from tutor_agent.runs.progress import Progress

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan

KILLED = """W torch/distributed/elastic/multiprocessing/api.py:1028] Sending process 8401 closing signal SIGTERM
E torch/distributed/elastic/multiprocessing/api.py:1002] failed (exitcode: -9) local_rank: 1 (pid: 8402) of binary: python
Failures:
[1]:
  rank      : 0 (local_rank: 0)
  exitcode  : 1 (pid: 8401)
Root Cause (first observed failure):
[0]:
  rank      : 1 (local_rank: 1)
  exitcode  : -9 (pid: 8402)  (SIGKILL)
"""
TRACE = "Traceback (most recent call last):\n  File 'x'\nRuntimeError: Connection reset by peer\n"


class Scene:
    """A finished attempt with hand-written logs."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self.logs = folder.attempt(0)
        self.logs.mkdir()

    def rank(self, rank: int, log: str = "", *, ended: bool = True) -> None:
        record(self.logs / f"rank-{rank}.json", ProcessId(pid=2**22 + rank, started=1.0))
        (self.logs / f"rank-{rank}.log").write_text(log, encoding="utf-8")
        if ended:
            (self.logs / f"rank-{rank}.ended").touch()

    def launcher(self, log: str) -> None:
        (self.logs / "launcher.log").write_text(log, encoding="utf-8")

    def outcome(
        self, *events: dict[str, object], memory_short: bool = False, code: int = 1
    ) -> Outcome:
        made = [event(seq, 7, **entry) for seq, entry in enumerate(events)]  # pyright: ignore[reportArgumentType]
        fates = read_fates(self.folder, 0, memory_short=memory_short)
        return conclude(
            self.folder, Progress(made), fates, outputs=("result/x",), launcher_code=code
        )


@pytest.fixture
def scene(tmp_path: Path, plan: Plan) -> Scene:
    return Scene(create_run(tmp_path, plan, {}))


def english(outcome: Outcome) -> str:
    assert outcome.reason is not None
    assert outcome.reason.zh
    return outcome.reason.en


def test_the_rank_that_was_killed_is_the_reason_not_its_neighbour(scene: Scene) -> None:
    scene.rank(0, TRACE)
    scene.rank(1, ended=False)
    scene.launcher(KILLED)
    said = {"kind": "run_ended", "state": "failed", "text_en": "reset", "text_zh": "重置"}
    outcome = scene.outcome(said)
    assert outcome.state == "failed"
    assert english(outcome).startswith("rank 1 was killed (SIGKILL)")
    starved = scene.outcome(said, memory_short=True)
    assert "ran out of memory" in english(starved)


def test_the_process_explains_itself_in_its_own_words(scene: Scene) -> None:
    scene.rank(0, TRACE)
    said = {"kind": "run_ended", "state": "failed", "text_en": "no rows", "text_zh": "没有数据"}
    assert english(scene.outcome(said)) == "no rows"
    halt = {"kind": "halted", "reason": "non_finite_loss"}
    assert english(scene.outcome(halt)) == "the loss became NaN or infinite at step 7"


def test_completed_counts_only_with_its_outputs(scene: Scene) -> None:
    scene.rank(0)
    said = {"kind": "run_ended", "state": "completed"}
    assert english(scene.outcome(said)) == "training ended, but result/x was not written"
    (scene.folder.result / "x").touch()
    assert scene.outcome(said, code=0) == Outcome(state="completed")


def test_a_crash_while_stopping_is_no_orderly_stop(scene: Scene) -> None:
    scene.folder.stop_marker.touch()
    scene.rank(0)
    assert scene.outcome().state == "stopped"
    scene.rank(0, "Traceback (most recent call last):\nOSError: No space left on device\n")
    outcome = scene.outcome()
    assert outcome.state == "failed"
    assert "No space left" in english(outcome)


def test_a_crash_of_the_interpreter_and_a_silent_end(scene: Scene) -> None:
    scene.rank(0, "Fatal Python error: Segmentation fault\n\nCurrent thread", ended=False)
    assert "Segmentation fault" in english(scene.outcome())
    scene.rank(0, "", ended=False)
    assert "vanished without a word" in english(scene.outcome())


def test_ranks_that_never_began_are_explained_by_the_launcher(scene: Scene) -> None:
    scene.launcher("usage: run.py\nrun.py: error: unrecognized arguments: --x\n")
    assert "unrecognized arguments" in english(scene.outcome(code=2))
    scene.launcher("")
    assert "launcher exit code 2" in english(scene.outcome(code=2))
