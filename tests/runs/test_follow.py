from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.events import Event, Kind, append_event
from tutor_agent.runs.curves import Mark, Point
from tutor_agent.runs.folder import RunFolder, create_run
from tutor_agent.runs.follow import Follower
from tutor_agent.runs.progress import Progress
from tutor_agent.runs.view import LiveRun, read_run

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan


@pytest.fixture
def folder(tmp_path: Path, plan: Plan) -> RunFolder:
    return create_run(tmp_path, plan, {})


def event(
    seq: int, step: int = 0, kind: Kind = "step", attempt: int = 0, **payload: object
) -> Event:
    return Event.model_validate(
        {
            "run": "fake-1",
            "attempt": attempt,
            "seq": seq,
            "t": 100.0 + seq,
            "step": step,
            "kind": kind,
            "payload": payload,
        }
    )


def test_nothing_yet_and_then_only_what_is_new(folder: RunFolder) -> None:
    follower = Follower(folder)
    assert follower.poll() == []
    append_event(folder.events, event(0, 1))
    append_event(folder.events, event(1, 2))
    assert [e.seq for e in follower.poll()] == [0, 1]
    assert follower.poll() == []


def test_a_cut_tail_waits_for_its_rest(folder: RunFolder) -> None:
    follower, line = Follower(folder), event(0, 1, note="微调").line().encode()
    for place in (20, len(line) - 9):
        with folder.events.open("wb") as stream:
            stream.write(line[:place])
        assert follower.poll() == []
    with folder.events.open("ab") as stream:
        stream.write(line[place:] + b"\ngarbage\n" + event(1, 2).line().encode() + b"\n")
    assert [e.seq for e in follower.poll()] == [0, 1]


def test_a_log_that_is_cut_or_replaced_is_read_anew_without_repeats(folder: RunFolder) -> None:
    follower = Follower(folder)
    lines = [event(seq, seq).line() + "\n" for seq in range(6)]
    folder.events.write_text("".join(lines[:4]), encoding="utf-8")
    assert len(follower.poll()) == 4
    folder.events.write_text("".join(lines[:2]), encoding="utf-8")
    assert follower.poll() == []
    folder.events.unlink()
    assert follower.poll() == []
    folder.events.write_text("".join(lines), encoding="utf-8")
    assert [e.seq for e in follower.poll()] == [4, 5]


def test_heartbeats_of_other_ranks_have_their_own_count(folder: RunFolder) -> None:
    append_event(folder.events, event(5, 1))
    append_event(folder.events, event(0, 1, "heartbeat", rank=1))
    assert len(Follower(folder).poll()) == 2


def test_a_resume_cuts_the_curves_at_its_step() -> None:
    progress = Progress()
    for step in range(1, 8):
        progress.add(event(step, step, loss=float(step)))
    progress.add(event(8, 6, "evaluation", phase="during", loss=0.5))
    progress.add(event(9, 7, loss=math.nan))
    assert progress.curves.marks[0].name == "loss"
    progress.add(
        event(0, 0, "run_started", attempt=1, resumed_from="x/checkpoint-4", total_steps=9)
    )
    assert progress.step == 4
    assert progress.curves.train[-1] == Point(4, 4.0)
    assert progress.curves.marks == []
    assert progress.curves.evaluations == []
    progress.add(event(1, 5, attempt=1, loss=50.0))
    assert [p.step for p in progress.curves.train] == [1, 2, 3, 4, 5]
    assert progress.curves.resumes == [4]
    assert progress.curves.last("loss") == 50.0


def test_without_a_start_event_the_first_step_cuts() -> None:
    progress = Progress(event(step, step, loss=1.0) for step in range(1, 8))
    progress.add(event(0, 5, attempt=1, loss=2.0))
    assert [p.step for p in progress.curves.train] == [1, 2, 3, 4, 5]


def test_figures_that_are_no_numbers_stay_visible() -> None:
    progress = Progress([event(0, 1, loss=1.0), event(1, 2, loss="nan", grad_norm="inf")])
    assert progress.curves.train == [Point(1, 1.0)]
    marks = progress.curves.marks
    assert [mark.name for mark in marks] == ["loss", "grad_norm"]
    assert marks[1] == Mark(2, "grad_norm", math.inf)


def test_the_best_is_the_earliest_lowest() -> None:
    values = {3: 2.0, 6: 1.5, 9: 1.5, 12: 1.9}
    progress = Progress(
        event(step, step, "evaluation", phase="during", split="validation", loss=value)
        for step, value in values.items()
    )
    assert progress.curves.best() == Point(6, 1.5)


def test_the_view_pairs_samples_and_foretells_the_time(folder: RunFolder) -> None:
    live = LiveRun(folder.path)
    sample = {"prompt": "你好？", "reference": "好"}
    log = [
        event(0, 0, "run_started", total_steps=10),
        event(1, 0, "sample", phase="before", answer="x", **sample),
        event(2, 1, loss=3.0, learning_rate=1e-4),
        event(4, 2, loss=2.0, learning_rate=2e-4),
    ]
    for entry in log:
        append_event(folder.events, entry)
    view = live.poll()
    assert (view.step, view.total_steps, view.loss) == (2, 10, 2.0)
    assert view.seconds_left == 8 * 2.0
    append_event(folder.events, event(5, 2, "sample", phase="after", answer="好", **sample))
    (pair,) = live.poll().samples
    assert (pair.before, pair.after, pair.reference) == ("x", "好", "好")
    assert read_run(folder.path) == live.poll()
