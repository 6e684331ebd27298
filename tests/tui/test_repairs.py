"""A repaired run in the app: how long the repair has held, what was tried, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, text_of, until
from tests.tui.scenes import FINDING, FIX, PLAN, EventLog, make_run
from tutor_agent.runs.folder import Lineage, RunFolder, Status, create_run, write_status
from tutor_agent.tui.widgets.result_card import ResultCard

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tutor_agent.core.text import Language
    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]


def repaired(root: Path, **status: object) -> RunFolder:
    """Write a line of two repairs, the first of which failed; `status` is that of the second."""
    halted = make_run(root, state="halted", step=412)
    halted.add_finding(FINDING)
    first = create_run(root, PLAN, {}, lineage=_line(halted))
    first.add_finding(FINDING)
    write_status(first, Status(state="halted", step=80, fault_gone=False, held=31))
    second = create_run(root, PLAN, {}, lineage=_line(first, by="autopilot"))
    write_status(second, Status.model_validate({"total_steps": 1170, **status}))
    return second


def _line(parent: RunFolder, **more: object) -> Lineage:
    known = {"parent": parent.name, "cause": FINDING.cause, "fix": FIX.id}
    return Lineage.model_validate({**known, **more})


@pytest.mark.parametrize(
    ("language", "held", "came_back", "by"),
    [
        ("en", "held for 12 steps so far", "✗ support-bot-2  Halve", "by itself"),
        ("zh", "修复至今坚持了 12 步", "✗ support-bot-2  把学习率减半", "自动"),
    ],
)
async def test_the_panel_tells_how_long_the_repair_has_held(
    make_app: MakeApp, tmp_path: Path, *, language: Language, held: str, came_back: str, by: str
) -> None:
    run = repaired(tmp_path / "runs", state="running", held=12)
    log = EventLog(run)
    log.start()
    log.train(1, 12)
    app = make_app(language)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: held in text_of(app).replace("\n", ""))
        assert came_back in text_of(app)
        assert "◌ support-bot-3" in text_of(app)
        assert by in text_of(app)
        status = Status(state="running", held=40, fault_gone=True, total_steps=1170)
        write_status(run, status)
        await until(pilot, lambda: "40" in text_of(app) and held not in text_of(app))


@pytest.mark.parametrize("size", [WIDE, NARROW])
async def test_the_result_card_tells_the_line(
    make_app: MakeApp, tmp_path: Path, size: tuple[int, int]
) -> None:
    run = repaired(tmp_path / "runs", state="completed", held=40, fault_gone=True)
    log = EventLog(run)
    log.start()
    log.train(1, 40)
    app = make_app("en")
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        app.follow(run.name)
        await until(pilot, lambda: list(app.main.query(ResultCard)))
        drawn = one(app, ResultCard).paint(app.words, 60).plain
        assert "✓ The repair worked" in drawn
        assert "✗ support-bot-2  Halve the learning rate" in drawn
        assert "✓ support-bot-3" in drawn
