"""Complaints that meet no pattern still find the card whose complaints they resemble."""

from __future__ import annotations

import pytest

from tutor_agent.diagnose.likeness import sayings, tokens
from tutor_agent.diagnose.rank import LEANING, THRESHOLD, diagnose
from tutor_agent.diagnose.readers import read_text


def test_wordings_and_languages_meet_in_the_shared_phrases() -> None:
    english, chinese = tokens("the answers never stop"), tokens("回答停不下来")
    assert "@never_stops" in english & chinese


def test_stems_meet() -> None:
    assert tokens("saving checkpoints").keys() & tokens("it saved a checkpoint").keys()


def test_a_known_complaint_is_found_again() -> None:
    best = sayings().like("cannot resume: training starts at step 0 again after the checkpoint")
    assert max(best, key=lambda slug: best[slug].share) == "resume_not_requested"


@pytest.mark.parametrize("words", ["", "hello", "谢谢", "Write a poem about autumn.", "???"])
def test_words_of_another_world_resemble_nothing(words: str) -> None:
    assert diagnose(read_text(""), symptom=words).verdict == "unknown"


def test_a_complaint_can_be_left_out() -> None:
    like = sayings().like(
        "input ids 开头有两个 bos token", apart_from="input ids 开头有两个 bos token"
    )
    assert all(found.share < 0.99 for found in like.values())


def test_a_leaning_is_weaker_than_a_finding_and_says_why() -> None:
    result = diagnose(
        read_text(""), symptom="the wrong classes come out since label ids were renumbered"
    )
    assert result.findings
    assert LEANING <= result.findings[0].confidence < 0.7
    assert LEANING < THRESHOLD
    assert "resemble" in " ".join(text.en for text in result.findings[0].evidence)
