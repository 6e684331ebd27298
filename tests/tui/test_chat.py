from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, say, text_of, until
from tests.tui.scenes import DATA, MACHINE, PLAN, PlanningTalk, ScriptedTalk, used
from tutor_agent.actions.context import Context
from tutor_agent.brain.talk import Said, Verdict
from tutor_agent.core.text import Text
from tutor_agent.tui.app import TutorApp
from tutor_agent.tui.widgets.answer import Answer, MarkdownPart
from tutor_agent.tui.widgets.approval_card import ApprovalCard
from tutor_agent.tui.widgets.lines import UserLine
from tutor_agent.tui.widgets.plan_card import PlanCard
from tutor_agent.tui.widgets.popup import Popup

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tutor_agent.brain.talk import Approve, TalkEvent
    from tutor_agent.core.text import Language

    MakeApp = Callable[..., TutorApp]

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])
LANGUAGES = pytest.mark.parametrize("language", ["zh", "en"])


def talk_of(app: TutorApp) -> ScriptedTalk:
    talk = app.talker._talk
    assert isinstance(talk, ScriptedTalk)
    return talk


@SIZES
@LANGUAGES
async def test_message_is_answered(
    make_app: MakeApp, size: tuple[int, int], language: Language
) -> None:
    app = make_app(language)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "你好 hello")
        assert one(app, UserLine).said == "你好 hello"
        await until(pilot, lambda: "echo: 你好 hello" in text_of(app))
        assert talk_of(app).loaded


@SIZES
@LANGUAGES
async def test_plan_card_shows_what_matters(
    make_app: MakeApp, size: tuple[int, int], language: Language
) -> None:
    app = make_app(language, PlanningTalk)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        await pilot.pause(0.2)
        shown = text_of(app)
        for figure in ("2e-4", "128", "31 / 80 GiB", "support-bot · LoRA · bf16 · DDP×4"):
            assert figure in shown
        assert ("启动" if language == "zh" else "Start") in shown


async def test_plan_button_starts_without_a_second_question(make_app: MakeApp) -> None:
    app = make_app("zh", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        await pilot.press("enter")
        await until(pilot, lambda: talk_of(app).verdicts)
        assert talk_of(app).verdicts == [Verdict.once]
        assert talk_of(app).heard[-1] == f"启动 {PLAN.name}"
        assert not one(app, PlanCard).open


async def test_plan_button_change_puts_words_into_the_prompt(make_app: MakeApp) -> None:
    app = make_app("zh", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        one(app, PlanCard).focus()
        await pilot.press("e")
        assert app.main.prompt.words == "学习率改成 "
        assert app.main.prompt.area.has_focus


async def test_plan_button_why_opens_the_reasons(make_app: MakeApp) -> None:
    app = make_app("zh", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        one(app, PlanCard).focus()
        await pilot.press("w")
        await until(pilot, lambda: app.screen is not app.main)
        await pilot.pause()
        assert "LoRA Without Regret" in text_of(app)
        await pilot.press("escape")
        assert app.screen is app.main


@SIZES
@pytest.mark.parametrize(
    ("key", "verdict"), [("a", Verdict.once), ("A", Verdict.always), ("r", Verdict.no)]
)
async def test_approval_is_answered_by_a_key(
    make_app: MakeApp, size: tuple[int, int], key: str, verdict: Verdict
) -> None:
    app = make_app("en", PlanningTalk)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "Start it")
        await until(pilot, lambda: one(app, ApprovalCard).has_focus)
        await pilot.press(key)
        await until(pilot, lambda: talk_of(app).verdicts)
        assert talk_of(app).verdicts == [verdict]
        assert not one(app, ApprovalCard).open
        await until(pilot, lambda: app.main.prompt.area.has_focus)


async def test_approval_does_not_take_the_keys_of_somebody_typing(make_app: MakeApp) -> None:
    app = make_app("en", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        app.deeds.submit("Start it")
        app.main.prompt.write("wait, ")
        await until(pilot, lambda: app.transcript.open_cards())
        await pilot.press("a")
        await pilot.pause()
        assert app.main.prompt.words == "wait, a"
        assert talk_of(app).verdicts == []


async def test_unknown_key_on_a_card_goes_to_the_prompt(make_app: MakeApp) -> None:
    app = make_app("en", PlanningTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "plan please")
        one(app, PlanCard).focus()
        await pilot.press("x", "y")
        assert app.main.prompt.words == "xy"


async def test_escape_interrupts_and_the_queue_goes_on(make_app: MakeApp) -> None:
    class SlowTalk(ScriptedTalk):
        async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
            self.stop = asyncio.Event()
            yield Said(text="thinking")
            if words == "slow":
                await self.stop.wait()

        def interrupt(self) -> bool:
            self.stop.set()
            return super().interrupt()

    app = make_app("en", SlowTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        app.deeds.submit("slow")
        await until(pilot, lambda: app.talker.busy and talk_of(app).heard)
        app.main.prompt.write("next one")
        await pilot.press("enter")
        assert app.talker.waiting == ("next one",)
        await until(pilot, lambda: "1 waiting" in text_of(app))
        await pilot.press("escape")
        await until(pilot, lambda: talk_of(app).heard == ["slow", "next one"])
        await until(pilot, lambda: not app.talker.busy)
        assert talk_of(app).interrupts == 1


async def test_slash_popup_completes_and_runs(make_app: MakeApp) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press("/")
        popup = app.main.query_one(Popup)
        await until(pilot, lambda: popup.is_open)
        await until(pilot, lambda: "/diagnose" in text_of(app))
        await pilot.press("t", "h")
        await until(pilot, lambda: [item.label for item in popup.items] == ["/theme"])
        await pilot.press("enter")
        assert app.theme == "paper"
        assert not popup.is_open
        assert app.main.prompt.words == ""


async def test_slash_command_goes_to_the_tutor_in_words(make_app: MakeApp) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "/stop support-bot-1")
        await say(pilot, app, "/resume")
        assert talk_of(app).heard == ["停止 support-bot-1", "继续训练"]
        await say(pilot, app, "/nonsense")
        await until(pilot, lambda: "没有命令 /nonsense" in text_of(app))
        await say(pilot, app, "/data/log.txt 怎么了")
        assert talk_of(app).heard[-1] == "/data/log.txt 怎么了"


async def test_file_completion(make_app: MakeApp, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "tickets 工单.jsonl").write_text("{}\n", encoding="utf-8")
    app = make_app("zh")
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        app.main.prompt.area.insert("用@tick")
        popup = app.main.query_one(Popup)
        await until(pilot, lambda: popup.is_open)
        await pilot.press("tab")
        assert app.main.prompt.words == "用data/tickets 工单.jsonl "


async def test_history_walks_and_survives(make_app: MakeApp) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "第一句")
        await say(pilot, app, "second\nline")
        app.main.prompt.area.insert("draft")
        await pilot.press("up")
        assert app.main.prompt.words == "second\nline"
        await pilot.press("up", "up")
        assert app.main.prompt.words == "第一句"
        await pilot.press("down")
        assert app.main.prompt.words == "second\nline"
        await pilot.press("down")
        assert app.main.prompt.words == "draft"
    again = make_app("zh")
    async with again.run_test(size=WIDE) as pilot:
        await ready(pilot, again)
        await pilot.press("up")
        assert again.main.prompt.words == "second\nline"


async def test_pasted_log_stays_whole(make_app: MakeApp) -> None:
    from textual.events import Paste

    log = "\n".join(f"step {n} loss {n / 10}" for n in range(60))
    app = make_app("zh")
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        app.post_message(Paste(log))
        await until(pilot, lambda: app.main.prompt.words == log)
        await pilot.press("enter")
        await until(pilot, lambda: talk_of(app).heard == [log])
        await until(pilot, lambda: "另有 52 行" in text_of(app))


async def test_long_answer_is_frozen_in_parts(make_app: MakeApp) -> None:
    text = "\n\n".join(f"## Part {n}\n\nSome words about part {n}. " * 3 for n in range(40))

    class LongTalk(ScriptedTalk):
        async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
            for start in range(0, len(text), 400):
                yield Said(text=text[start : start + 400])
                await pilot.pause(0.03)

    app = make_app("en", LongTalk)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "tell me")
        answer = one(app, Answer)
        await until(pilot, lambda: answer.source == text)
        assert 2 <= len(answer.query(MarkdownPart)) < 20


async def test_control_c_clears_then_says_how_to_leave(make_app: MakeApp) -> None:
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        app.main.prompt.write("half a tho")
        await pilot.press("ctrl+c")
        assert app.main.prompt.words == ""
        await pilot.press("ctrl+c")
        await until(pilot, lambda: "Press ^q to leave" in text_of(app))


@pytest.mark.parametrize("words", ["help", "帮助", "/help"])
async def test_a_command_needs_no_slash(make_app: MakeApp, words: str) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        app.deeds.submit(words)
        await until(pilot, lambda: app.screen is not app.main)
        assert talk_of(app).heard == []


async def test_nothing_moves_while_somebody_types(make_app: MakeApp) -> None:
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        assert app.main.prompt.area.has_focus
        assert not app.main.prompt.area.cursor_blink


async def test_rows_of_several_tools_stand_below_their_own_line(make_app: MakeApp) -> None:
    app = make_app("en", ParallelTalk)
    async with app.run_test(size=(120, 50)) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "look")
        kinds = [type(child).__name__ for child in app.transcript.children][2:]
        assert kinds == ["ToolLine", "FactsView", "ToolLine", "FactsView"]


class ParallelTalk(ScriptedTalk):
    """Uses two tools at a time."""

    async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        first = used("1", "inspect_machine", Text.same("Machine"), MACHINE, Text.same("m"))
        second = used("2", "inspect_data", Text.same("Data"), DATA, Text.same("d"))
        for event in (first[0], second[0], first[1], second[1]):
            yield event


async def test_the_builtin_brain_answers(make_app: MakeApp, tmp_path: Path) -> None:
    app = TutorApp(Context(tmp_path, "zh"))
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "你好")
        await until(pilot, lambda: not app.talker.busy, 60)
        await until(pilot, lambda: list(app.main.query(Answer)) and one(app, Answer).source)
        assert app.main.top.brain == "builtin"
        assert app.session.title == "你好"
