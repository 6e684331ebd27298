"""Evidence as people read it: no two sentences that say the same."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.text import Text

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:e[+-]?\d+)?(?![\w])", re.IGNORECASE)


def distinct(evidence: Iterable[Text]) -> tuple[Text, ...]:
    """Leave out a sentence all of whose measured figures stand in a stronger one before it.

    Figures make a sentence of evidence; two with the same ones tell the same in other words. Steps and
    counts alone do not: many things may happen at step 8.

    Args:
        evidence: Sentences, the strongest first.
    """
    kept: list[Text] = []
    figures: list[frozenset[str]] = []
    for text in evidence:
        own = frozenset(_NUMBER.findall(text.en))
        measured = any(not number.lstrip("-").isdigit() for number in own)
        if text in kept or (measured and any(own <= others for others in figures)):
            continue
        kept.append(text)
        figures.append(own)
    return tuple(kept)
