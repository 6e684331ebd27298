"""The offline brain: a pure function from the conversation to words and tool calls."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.dialogue import answer_once, decide
from tutor_agent.brain.builtin.paste import language_of_message
from tutor_agent.brain.builtin.scene import Call, Decision
from tutor_agent.brain.history import UserEntry

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.brain.history import Entry
    from tutor_agent.core.text import Language

__all__ = ["Call", "Decision", "answer_once", "decide", "language_of"]


def language_of(history: Sequence[Entry], before: Language) -> Language:
    """Return the language of the person's last words that carry one."""
    language = before
    for entry in history:
        if isinstance(entry, UserEntry):
            language = language_of_message(entry.words, language)
    return language
