"""Look a question up in the knowledge cards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.library.search import open_index

if TYPE_CHECKING:
    from tutor_agent.library.search import Hit


def look_up(question: str, limit: int = 3) -> list[Hit]:
    """Return the cards nearest to `question`, best first, with how sure the match is."""
    return open_index().search(question, limit)
