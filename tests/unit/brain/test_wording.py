from __future__ import annotations

import math

import pytest

from tutor_agent.brain.wording import duration, listed, number, parameters
from tutor_agent.core.text import Text


@pytest.mark.parametrize(
    ("hours", "en", "zh"),
    [
        (0.0, "1 s", "1 秒"),
        (0.01, "36 s", "36 秒"),
        (0.5, "30 min", "30 分钟"),
        (3.25, "3.2 h", "3.2 小时"),
        (72.0, "3.0 days", "3.0 天"),
        (math.inf, "an unknown time", "时间未知"),
    ],
)
def test_durations(hours: float, en: str, zh: str) -> None:
    assert duration(hours) == Text(en=en, zh=zh)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (2e-4, "2e-4"),
        (1.5e-5, "1.5e-5"),
        (0.1, "0.1"),
        (3.0, "3"),
        (-1e-3, "-1e-3"),
        (0.0, "0"),
        (math.nan, "nan"),
        (None, "—"),
        (True, "true"),
        (["q", "v"], "q, v"),
        ("cosine", "cosine"),
    ],
)
def test_values_of_a_plan(value: object, said: str) -> None:
    assert number(value) == said


def test_weights() -> None:
    counts = (135_000_000, 7_000_000_000, 671_000_000_000, 12)
    assert [parameters(count) for count in counts] == ["135M", "7.0B", "671B", "12"]


def test_sentences_end_before_the_next_begins() -> None:
    joined = listed([Text(en="One", zh="一"), Text(en="Two.", zh="二。"), Text(en="", zh="")])
    assert joined == Text(en="One. Two.", zh="一。二。")
