"""How much a complaint resembles what a card says of itself: a weak sign where no pattern is met.

All complaints of a card are compared at once, by how often a word comes up in them: single ones are too
few to meet the words of the next person. Words are cut to their stems and weighted by rarity; Chinese is read in pairs of characters; the shared
phrases count as words of their own, so that different wordings and both languages meet.
"""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

from tutor_agent.diagnose.faults import load_faults, pattern, phrases

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tutor_agent.diagnose.faults import Fault

_WORD = re.compile(r"[a-z][a-z0-9_]*|[\u3400-\u9fff]+")
_SUFFIX = re.compile(r"(?<=[a-z]{3})(?:ations?|ings?|ness|ments?|edly|ies|ed|es|ly|s|e)$")
_STOP_WORDS = """
    a about an and are as at be been but by can did do does for from get got had has have how i if in into is it its just
    me my no not now of on only or our so some that the their them then there they this to was we were what when where
    which while why will with without you your very still than too always
"""
_STOP = frozenset(_STOP_WORDS.split())
_CONCEPT = 1.4
_PROSE_WORTH = 0.5
_FEWEST_SHARED = 3
_LONGEST = 2000
_BESIDE = 0.6


@dataclass(frozen=True, slots=True)
class Likeness:
    """How much what is known of a card resembles the words, and the nearest of its complaints."""

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
        self._profiles: dict[str, _Profile] = {}
        for slug, saying, row, worth in self._rows:
            self._profiles.setdefault(slug, _Profile()).add(saying, row, worth)

    def like(self, words: str, *, beside: str = "", apart_from: str = "") -> dict[str, Likeness]:
        """Return, by slug, how much `words` resemble what is known of a card, with the nearest complaint.

        `beside` is what stands next to the words, settings and log: it counts for less.
        `apart_from` is a complaint to leave out.
        """
        said = tokens(words)
        asked = dict.fromkeys(tokens(beside), _BESIDE) | dict.fromkeys(said, 1.0)
        size = math.sqrt(sum((worth * self._weight(token)) ** 2 for token, worth in asked.items()))
        left_out = tokens(apart_from)
        found: dict[str, Likeness] = {}
        for slug, profile in self._profiles.items():
            usual = profile.usual(left_out if apart_from in profile.sayings else None)
            met = [token for token in asked if token in usual]
            own = sum(token in said and not token.startswith("@topic_") for token in met)
            if not own or len(met) < _FEWEST_SHARED:
                continue
            length = math.sqrt(sum((self._weight(t) * share) ** 2 for t, share in usual.items()))
            alike = sum(asked[token] * self._weight(token) ** 2 * usual[token] for token in met)
            nearest = self._nearest(profile, asked, apart_from)
            found[slug] = Likeness(alike / (size * length), nearest)
        return found

    def _nearest(self, profile: _Profile, asked: Mapping[str, float], apart_from: str) -> str:
        """Return the complaint of a card that shares most with what is asked."""

        def alike(saying: str) -> float:
            row = profile.sayings[saying]
            met = sum(asked[t] * self._weight(t) ** 2 for t in row if t in asked)
            return met / math.sqrt(1 + sum(self._weight(t) ** 2 for t in row))

        return max((one for one in profile.sayings if one != apart_from), key=alike, default="")

    def _weight(self, token: str) -> float:
        gain = _CONCEPT if token.startswith("@") else 1.0
        return gain * self._rarity.get(token, self._unknown)


@dataclass(slots=True)
class _Profile:
    """What people say of one fault: its complaints, and how often each word comes up."""

    sayings: dict[str, Counter[str]] = field(default_factory=dict[str, Counter[str]])
    _counts: dict[str, float] = field(default_factory=dict[str, float])
    _total: float = 0.0
    _shares: dict[str, float] = field(default_factory=dict[str, float])

    def add(self, saying: str, row: Counter[str], worth: float) -> None:
        if worth == 1:
            self.sayings[saying] = row
        for token in row:
            self._counts[token] = self._counts.get(token, 0.0) + worth
        self._total += worth

    def usual(self, left_out: Counter[str] | None = None) -> dict[str, float]:
        """Return the damped share of complaints that hold a word, without one that is left out."""
        if left_out is not None:
            fewer = {token: count - (token in left_out) for token, count in self._counts.items()}
            return _damped(fewer, self._total - 1)
        if not self._shares:
            self._shares = _damped(self._counts, self._total)
        return self._shares


def _damped(counts: Mapping[str, float], total: float) -> dict[str, float]:
    return {token: math.sqrt(count / total) for token, count in counts.items() if count > 0}


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
        for part in re.split(r"^## .+$", body, flags=re.MULTILINE)[1:]
    ]
    prose += [words for fix in card.fixes for words in (fix.title.en, fix.title.zh)]
    return [*complaints.items(), *((part, _PROSE_WORTH) for part in prose)]
