"""One question, one answer, and the cards it rests on. Needs no LLM library."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Language

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context


class Answer(Contract):
    """An answer and what it rests on."""

    answer: str
    """The answer in the language of the question."""
    language: Language
    """The language of the question."""
    cards: tuple[str, ...] = ()
    """Ids of the cards or slugs of the faults it was taken from."""
    answered_by: str = "builtin"
    """Who answered."""
    suggestions: tuple[str, ...] = ()
    """Topics that are near, or that come next."""


def ask(question: str, context: Context) -> Answer:
    """Answer from a fault card, a computed figure or a knowledge card; never invent."""
    raise NotImplementedError
