"""Look a question up in the knowledge cards."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from tutor_agent.library.cards import load_cards
from tutor_agent.library.search import Index

if TYPE_CHECKING:
    from tutor_agent.library.search import Hit


@cache
def _index() -> Index:
    return Index(load_cards())


def look_up(question: str, limit: int = 3) -> list[Hit]:
    """Return the cards nearest to `question`, best first, with how sure the match is."""
    return _index().search(question, limit)
