"""The card of a fault: how it came about, evidence, rivals, what settles it, ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tui.driving import NARROW, WIDE, one, ready, say, text_of, until
from tests.tui.scenes import FINDING, PROPOSAL, ScriptedTalk, used
from tutor_agent.core.findings import Diagnosis
from tutor_agent.core.text import Text
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from tutor_agent.brain.talk import Approve, TalkEvent
    from tutor_agent.core.text import Language
    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]

STORY = (
    Text(en="The guard stopped step 412.", zh="守护程序拦下了第 412 步。"),
    Text(en="Only row 88 breaks.", zh="只有第 88 行出错。"),
)
RIVAL = FINDING.model_copy(
    update={
        "cause": "fp16_overflow",
        "title": Text(en="Too large for fp16", zh="超出 fp16 的范围"),
        "confidence": 0.61,
    }
)
VERDICT = Diagnosis(
    verdict="fault",
    language="zh",
    findings=(
        FINDING.model_copy(
            update={"against": (Text(en="Loss fell before.", zh="此前损失在降。"),)}
        ),
        RIVAL,
    ),
    note=Text(en="Rerun in fp32 for 20 steps.", zh="用 fp32 重跑 20 步。"),
    story=STORY,
)


class DiagnosingTalk(ScriptedTalk):
    async def answer(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        title = Text(en="Read the log", zh="分析日志文件")
        for event in used("1", "diagnose_file", title, VERDICT, Text.same("train.log")):
            yield event


@pytest.mark.parametrize("size", [WIDE, NARROW])
@pytest.mark.parametrize("language", ["zh", "en"])
async def test_verdict_is_one_card_with_its_rivals_and_what_settles_them(
    make_app: MakeApp, language: Language, size: tuple[int, int]
) -> None:
    app = make_app(language, DiagnosingTalk)
    async with app.run_test(size=size) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "train.log")
        await until(pilot, lambda: app.main.query(DiagnosisCard))
        await pilot.pause()
        assert len(app.main.query(DiagnosisCard)) == 1
        card = one(app, DiagnosisCard)
        drawn = card.paint(app.words, 50).plain
        texts = (*STORY, VERDICT.findings[0].against[0], RIVAL.title)
        for text in (*texts, VERDICT.note or STORY[0], FINDING.fixes[0].title):
            assert app.words.of(text).rstrip("。.") in drawn.replace("\n", " ")
        assert "61%" in drawn
        assert app.words.of(FINDING.title) in text_of(app)


async def test_repair_tells_how_the_run_was_halted(make_app: MakeApp) -> None:
    card = DiagnosisCard.of_proposal(PROPOSAL.model_copy(update={"story": STORY}))
    app = make_app("en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        app.transcript.append(card)
        await pilot.pause()
        drawn = card.paint(app.words, 60).plain
        assert "Only row 88 breaks." in drawn
        assert "resume from checkpoint-400" in drawn.replace("\n", " ")
        assert [choice.key for choice in card.choices()] == ["a", "d", "x"]
