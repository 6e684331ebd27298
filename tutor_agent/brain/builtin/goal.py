"""A goal in a sentence, for faces that have no conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.reading import Known, read_message
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.facts import Goal

if TYPE_CHECKING:
    from tutor_agent.core.text import Language


def understand_goal(words: str, language: Language) -> tuple[Goal, PlanChange]:
    """Read the task, the wish, the method and any plan fields that a sentence decides."""
    if not words.strip():
        return Goal(language=language), PlanChange()
    reading = read_message(words, Known())
    goal = Goal(
        task=reading.task,
        domain=reading.domain,
        language=reading.language,
        wish=reading.wish or "balanced",
        skill=reading.skill,
        max_hours=reading.hours,
        words=words,
    )
    return goal, PlanChange(entries=reading.changes)
