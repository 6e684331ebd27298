"""A fault of a running job stands in the app as a card, once the supervisor has written it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, text_of, until
from tests.tui.scenes import PLAN, EventLog, make_run
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.diagnose.repair import main_finding
from tutor_agent.diagnose.watch import Watch
from tutor_agent.runs.folder import Status, write_status
from tutor_agent.runs.follow import Follower
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tutor_agent.core.text import Language
    from tutor_agent.runs.folder import RunFolder
    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]


STEADY = apply(PLAN, PlanChange.set(optim__schedule="constant", optim__warmup=0))


class Supervisor:
    """Turns new events into findings and files, as the supervisor of a run does."""

    def __init__(self, run: RunFolder) -> None:
        self._run, self._watch, self._follower = run, Watch(STEADY), Follower(run)

    def look(self) -> int:
        found = [f for event in self._follower.poll() for f in self._watch.feed(event)]
        for finding in found:
            self._run.add_finding(finding)
        return len(found)


def _train(log: EventLog) -> None:
    for step in range(1, 41):
        log.add("step", step, loss=2.0 - step / 100, grad_norm=1.2, learning_rate=2e-4)


def _broken(log: EventLog) -> None:
    log.add("step", 41, loss=math.nan, grad_norm=math.inf, learning_rate=2e-4)


def _drifting(log: EventLog) -> None:
    for step in range(41, 81):
        log.add("step", step, loss=8.0, grad_norm=30.0, learning_rate=2e-4)


def _unlabelled(log: EventLog) -> None:
    for step in range(41, 44):
        log.add("step", step, loss=0.0, grad_norm=0.0, learning_rate=2e-4)


def _halted(log: EventLog) -> None:
    log.add("halted", 40, reason="non_finite_gradient", loss=1.2, grad_norm=math.nan)


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("fault", [_broken, _drifting, _unlabelled, _halted])
async def test_a_fault_of_a_running_job_shows_its_card(
    make_app: MakeApp, tmp_path: Path, fault: Callable[[EventLog], None], size: tuple[int, int]
) -> None:
    language: Language = "zh" if size == WIDE else "en"
    run = make_run(tmp_path / "runs", STEADY)
    log, supervisor = EventLog(run), Supervisor(run)
    log.start()
    _train(log)
    assert supervisor.look() == 0
    app = make_app(language)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        if app.main.is_narrow:
            app.follow(run.name)
        await until(pilot, lambda: "40 / 1,170" in text_of(app))
        assert not app.main.query(DiagnosisCard)
        fault(log)
        assert supervisor.look() > 0
        await until(pilot, lambda: app.main.query(DiagnosisCard))
        card = one(app, DiagnosisCard)
        finding = main_finding(run.load_findings())
        assert finding is not None
        assert card.finding == finding
        assert card.proposal is None
        await until(pilot, lambda: card.is_on_screen)
        await until(pilot, lambda: app.words.of(finding.title)[:20] in text_of(app))


async def test_the_card_gains_its_repair_when_the_run_has_ended(
    make_app: MakeApp, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "runs", STEADY)
    log, supervisor = EventLog(run), Supervisor(run)
    log.start()
    _train(log)
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        _halted(log)
        supervisor.look()
        await until(pilot, lambda: app.main.query(DiagnosisCard))
        cause = run.load_findings()[0].cause
        write_status(run, Status(state="halted", step=40, total_steps=1170, cause=cause))
        await until(pilot, lambda: app.main.panel.card is not None)
        assert one(app, DiagnosisCard).proposal is not None
