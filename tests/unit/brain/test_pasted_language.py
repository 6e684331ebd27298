"""A log is in English whoever pastes it: it does not change the language of the conversation."""

from __future__ import annotations

import pytest

from tutor_agent.brain.builtin import language_of
from tutor_agent.brain.history import UserEntry

ERROR = "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB"


@pytest.mark.parametrize(
    ("messages", "language"),
    [
        (["我想微调一个小模型", ERROR], "zh"),
        (["I want to fine-tune a model", ERROR], "en"),
        ([ERROR], "zh"),
        ([ERROR, "what does this mean and what should I do?"], "en"),
        (["hello there, how are you", f"这是什么意思？\n{ERROR}"], "zh"),
    ],
)
def test_a_pasted_log_changes_nothing(messages: list[str], language: str) -> None:
    history = [UserEntry(words=words) for words in messages]
    assert language_of(history, "zh") == language
