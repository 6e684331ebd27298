"""How much a complaint resembles those that a card lists: a weak sign where no pattern is met.

Words are cut to their stems and weighted by rarity; Chinese is read in pairs of characters; the shared
phrases count as words of their own, so that different wordings and both languages meet.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from tutor_agent.diagnose.faults import load_faults, pattern, phrases

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.diagnose.faults import Fault

_WORD = re.compile(r"[a-z][a-z0-9_]*|[\u3400-\u9fff]+")
_SUFFIX = re.compile(r"(?<=[a-z]{3})(?:ations?|ings?|ness|ments?|edly|ies|ed|es|ly|s|e)$")
_STOP_WORDS = """
    a an and are as at be been but by can did do does for from get got had has have how i if in into is it its just
    me my no not now of on only or our so some that the their them then there they this to was we were what when where
    which while why will with without you your very still than too always
"""
_STOP = frozenset(_STOP_WORDS.split())
_CONCEPT = 1.4
_PROSE_WORTH = 0.8
_FEWEST_SHARED = 3
_LONGEST = 2000
_BESIDE = 0.6
_ADDED_UP = 4


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much the complaints of a card resemble the words, and the nearest of them."""

    share: float
    saying: str


def tokens(words: str) -> Counter[str]:
    """Return the stems, character pairs and phrases of `words` with their weights."""
    found: Counter[str] = Counter()
    plain = words.lower()[:_LONGEST]
    for piece in _WORD.findall(plain):
        if piece[0] > "z":
            pairs = ["".join(pair) for pair in itertools.pairwise(piece)] or [piece]
            found.update(pairs)
            continue
        for part in {piece, *piece.split("_")}:
            if part and part not in _STOP and len(part) > 1:
                found[_SUFFIX.sub("", part)] += 1
    named = {f"@{name}" for name in phrases() if pattern(f"@{name}").search(plain)}
    return Counter(dict.fromkeys(found, 1) | dict.fromkeys(named, 1))


class Sayings:
    """The complaints of all cards, made ready for comparison."""

    def __init__(self, cards: Iterable[Fault]) -> None:
        self._rows = [
            (card.slug, saying, tokens(saying), worth)
            for card in cards
            for saying, worth in _complaints(card)
        ]
        seen = Counter(token for _, _, row, _ in self._rows for token in row)
        count = max(1, len(self._rows))
        self._rarity = {token: math.log(1 + count / hits) for token, hits in seen.items()}
        self._unknown = math.log(1 + count)
        self._lengths = [self._length(row) for _, _, row, _ in self._rows]

    def like(self, words: str, *, beside: str = "", apart_from: str = "") -> dict[str, Likeness]:
        """Return, by slug, how much `words` resemble the complaints of a card, with the nearest one.

        `beside` is what stands next to the words, settings and log: it counts for less. Several
        complaints of one card that resemble the words add up.
        """
        said = tokens(words)
        asked = dict.fromkeys(tokens(beside), _BESIDE) | dict.fromkeys(said, 1.0)
        size = math.sqrt(sum((worth * self._weight(token)) ** 2 for token, worth in asked.items()))
        found: dict[str, list[Likeness]] = {}
        for (slug, saying, row, worth), length in zip(self._rows, self._lengths, strict=True):
            met = [token for token in row if token in asked]
            own = sum(token in said and not token.startswith("@topic_") for token in met)
            if not own or len(met) < _FEWEST_SHARED or saying == apart_from:
                continue
            alike = sum(asked[token] * self._weight(token) ** 2 for token in met)
            found.setdefault(slug, []).append(Likeness(worth * alike / (size * length), saying))
        return {slug: _added_up(likenesses) for slug, likenesses in found.items()}

    def _length(self, row: Counter[str]) -> float:
        return math.sqrt(sum(self._weight(token) ** 2 for token in row))

    def _weight(self, token: str) -> float:
        gain = _CONCEPT if token.startswith("@") else 1.0
        return gain * self._rarity.get(token, self._unknown)


def _added_up(likenesses: list[Likeness]) -> Likeness:
    """Return the nearest complaint with the share of the nearest few as independent hints."""
    nearest = sorted(likenesses, key=lambda likeness: -likeness.share)[:_ADDED_UP]
    return Likeness(1 - math.prod(1 - one.share for one in nearest), nearest[0].saying)


@lru_cache(maxsize=1)
def sayings() -> Sayings:
    """Return the complaints of the bundled cards."""
    return Sayings(load_faults())


def _complaints(card: Fault) -> list[tuple[str, float]]:
    """Return what stands for a card in a comparison, with its worth: complaints, then explanations."""
    told = [example.symptom for example in card.examples if example.fires and example.symptom]
    complaints = dict.fromkeys((*card.sayings, *told, card.title.en, card.title.zh), 1.0)
    prose = [
        part.strip()
        for body in (card.body.en, card.body.zh)
        for part in re.split(r"^## .+$", body, flags=re.MULTILINE)[1:3]
    ]
    return [*complaints.items(), *((part, _PROSE_WORTH) for part in prose)]
