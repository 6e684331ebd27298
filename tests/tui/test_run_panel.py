from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, say, text_of, until
from tests.tui.scenes import BROKEN_PLAN, FINDING, EventLog, ScriptedTalk, make_run, used
from tutor_agent.actions.fix import FixProposal
from tutor_agent.core.text import Text
from tutor_agent.runs.folder import Status, write_status
from tutor_agent.runs.view import read_run
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard
from tutor_agent.tui.widgets.loss_chart import LossChart
from tutor_agent.tui.widgets.result_card import ResultCard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tutor_agent.brain.talk import Approve, TalkEvent
    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]


async def test_panel_follows_a_growing_log(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        assert "还没有训练" in text_of(app)
        run = make_run(tmp_path / "runs")
        log = EventLog(run)
        log.start()
        log.train(1, 120)
        await until(pilot, lambda: "步 120 / 1,170" in text_of(app))
        assert "◆" in text_of(app)
        log.train(121, 150)
        await until(pilot, lambda: "步 150 / 1,170" in text_of(app))
        assert len(one(app, LossChart).series.points) == 150


async def test_run_is_picked_up_whole_on_start(make_app: MakeApp, tmp_path: Path) -> None:
    log = EventLog(make_run(tmp_path / "runs"))
    log.start()
    log.train(1, 300)
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "300 / 1,170" in text_of(app))
        series = one(app, LossChart).series
        assert (series.points[0][0], series.points[-1][0]) == (1, 300)
        assert [step for step, _ in series.evaluations] == [100, 200, 300]


async def test_newest_run_is_followed_until_another_is_chosen(
    make_app: MakeApp, tmp_path: Path
) -> None:
    first = EventLog(make_run(tmp_path / "runs"))
    first.start()
    first.train(1, 10)
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "support-bot-1" in text_of(app))
        second = EventLog(make_run(tmp_path / "runs"))
        second.start()
        second.train(1, 20)
        await until(pilot, lambda: "support-bot-2" in text_of(app))
        app.deeds.submit("/runs support-bot-1")
        await until(pilot, lambda: "support-bot-1" in text_of(app))
        await until(pilot, lambda: len(one(app, LossChart).series.points) == 10)


async def test_halt_makes_the_tutor_speak_and_offers_a_repair(
    make_app: MakeApp, tmp_path: Path
) -> None:
    run = make_run(tmp_path / "runs", BROKEN_PLAN)
    log = EventLog(run)
    log.start()
    log.train(1, 30)
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "训练中" in text_of(app))
        log.add("step", 31, loss=math.nan, grad_norm=math.inf, learning_rate=1e-4)
        log.add("halted", 31, reason="non_finite_loss")
        run.add_finding(FINDING)
        write_status(run, Status(state="halted", step=31, total_steps=1170, cause="lr-too-high"))
        await until(pilot, lambda: "已暂停" in text_of(app))
        talk = app.talker._talk
        assert isinstance(talk, ScriptedTalk)
        await until(pilot, lambda: talk.noticed)
        assert [(n.happened, n.run, n.step) for n in talk.noticed] == [("halted", run.name, 31)]
        await until(pilot, lambda: list(app.main.query(DiagnosisCard)))
        await pilot.pause(0.1)
        shown = text_of(app)
        for words in (
            "第 412 步损失变成 NaN",
            "把握 92%",
            "fp16 → bf16",
            "2e-4 → 1e-4",
            "NaN",
            "inf",
        ):
            assert words in shown
        card = one(app, DiagnosisCard)
        card.focus()
        await pilot.press("d")
        await until(pilot, lambda: "plan.yaml" in text_of(app))
        await pilot.press("escape")
        card.focus()
        await pilot.press("a")
        await until(pilot, lambda: talk.heard == [f"应用修复 {run.name}"])
        assert not card.open


async def test_run_that_ended_earlier_is_no_news(make_app: MakeApp, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", state="completed", step=40)
    log = EventLog(run)
    log.start(40)
    log.add("evaluation", 0, split="test", phase="before", loss=2.5)
    log.train(1, 40)
    log.add("evaluation", 40, split="test", phase="after", loss=1.25)
    log.add("run_ended", 40, state="completed")
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: list(app.main.query(ResultCard)))
        await pilot.pause(0.1)
        shown = text_of(app)
        for words in ("2.50 → 1.25", "−50%", "better on held-out rows", "completed"):
            assert words in shown
        talk = app.talker._talk
        assert isinstance(talk, ScriptedTalk)
        assert talk.noticed == []


async def test_narrow_strip_and_tabs(make_app: MakeApp, tmp_path: Path) -> None:
    log = EventLog(make_run(tmp_path / "runs"))
    log.start()
    log.train(1, 60)
    app = make_app("zh")
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "60/1170" in text_of(app))
        assert "▁" in text_of(app)
        await pilot.press("f2")
        await until(pilot, lambda: "步 60 / 1,170" in text_of(app))
        assert "60/1170" not in text_of(app)
        await pilot.press("f2", "f2")
        await until(pilot, lambda: "❯ support-bot-1" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.main.tab == "run")
        await pilot.press("f2", "f2", "f2")
        await until(pilot, lambda: app.main.tab == "chat")


async def test_repair_is_built_from_the_run(make_app: MakeApp, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", BROKEN_PLAN, state="halted", step=31)
    EventLog(run).start()
    run.add_finding(FINDING)
    app = make_app("en")
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        await pilot.press("f2")
        await until(pilot, lambda: list(app.main.query(DiagnosisCard)))
        proposal = one(app, DiagnosisCard).proposal
        assert isinstance(proposal, FixProposal)
        assert proposal.after.optim.learning_rate == 1e-4
        await pilot.pause(0.1)
        assert "Apply and rerun" in text_of(app)


async def test_what_a_tool_has_told_is_no_news(make_app: MakeApp, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", step=5)
    EventLog(run).start()

    class StoppingTalk(ScriptedTalk):
        async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
            write_status(run, Status(state="stopped", step=5, total_steps=1170))
            await until(pilot, lambda: "stopped" in text_of(app))
            title = Text(en="Stop the run", zh="停止训练")
            for event in used("1", "stop_run", title, read_run(run.path), Text.same("5")):
                yield event

    app = make_app("en", StoppingTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "training" in text_of(app))
        await say(pilot, app, "stop it")
        await until(pilot, lambda: not app.talker.busy)
        talk = app.talker._talk
        assert isinstance(talk, ScriptedTalk)
        assert talk.noticed == []


async def test_halt_is_marked_where_the_guard_stopped(make_app: MakeApp, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", state="halted", step=41)
    log = EventLog(run)
    log.start()
    log.train(1, 40)
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "┊ fault" in text_of(app))
        assert one(app, LossChart).series.has_fault


async def test_result_is_shown_once(make_app: MakeApp, tmp_path: Path) -> None:
    run = make_run(tmp_path / "runs", state="completed", step=2)
    log = EventLog(run)
    log.start(2)
    log.add("evaluation", 0, split="test", phase="before", loss=2.5)
    log.add("evaluation", 2, split="test", phase="after", loss=1.25)

    class ShowingTalk(ScriptedTalk):
        async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
            title = Text(en="Look at the run", zh="查看运行")
            for event in used("1", "show_run", title, read_run(run.path), Text.same("done")):
                yield event

    app = make_app("en", ShowingTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: list(app.main.query(ResultCard)))
        await say(pilot, app, "how is it")
        assert len(app.main.query(ResultCard)) == 1
        await pilot.resize_terminal(*NARROW)
        await until(pilot, lambda: app.main.is_narrow)
        await say(pilot, app, "and now")
        await until(pilot, lambda: len(app.main.query(ResultCard)) == 2)


@pytest.mark.parametrize("chosen", [True, False])
async def test_app_follows_the_run_that_the_autopilot_started(
    make_app: MakeApp, tmp_path: Path, *, chosen: bool
) -> None:
    run = make_run(tmp_path / "runs", BROKEN_PLAN)
    log = EventLog(run)
    log.start()
    log.train(1, 30)
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        if chosen:
            app.deeds.submit(f"/runs {run.name}")
        await until(pilot, lambda: "30 / 1,170" in text_of(app))
        child = make_run(tmp_path / "runs", BROKEN_PLAN, parent=run.name)
        EventLog(child).start()
        run.add_finding(FINDING)
        await until(pilot, lambda: list(app.main.query(DiagnosisCard)))
        said = Text(en="the autopilot went on as support-bot-2", zh="自动修复以 support-bot-2 继续")
        write_status(
            run,
            Status(
                state="halted",
                step=30,
                total_steps=1170,
                cause="lr-too-high",
                repaired_by=child.name,
                autopilot=said,
            ),
        )
        await until(pilot, lambda: child.name in text_of(app))
        talk = app.talker._talk
        assert isinstance(talk, ScriptedTalk)
        await until(pilot, lambda: len(talk.noticed) > 1)
        told = [(n.happened, n.run) for n in talk.noticed]
        assert told == [("finding", run.name), ("repaired", run.name)]
        assert "went on as support-bot-2" in talk.noticed[1].text.en
        app.deeds.submit(f"/runs {run.name}")
        await until(pilot, lambda: list(app.main.query(DiagnosisCard)))
        await until(pilot, lambda: f"{run.name} " in text_of(app))
