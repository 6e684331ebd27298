"""Understanding by example: the nearest known phrase, for messages that no pattern knows."""

from __future__ import annotations

import functools
import math
import re
import tomllib
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.library.cards import load_cards

if TYPE_CHECKING:
    from collections.abc import Iterable

NEAR = 0.37
"""Cosine below which two phrases are not taken to mean the same."""

_PIECE = re.compile(r"[\u3400-\u9fff]|[a-z]+|\d+")
_LONGEST = 80
_Vector = dict[str, float]


def nearest_intent(words: str) -> Intent | None:
    """Return the intent of the nearest example; None when a card's question, or nothing, is nearer."""
    if not words.strip() or len(words) > _LONGEST:
        return None
    asked = _vector(words, _rarity())
    if not asked:
        return None
    best, intent = max(
        ((_cosine(asked, vector), intent) for intent, vector in _examples()),
        key=lambda item: item[0],
    )
    return intent if best >= NEAR else None


@functools.cache
def _phrases() -> tuple[tuple[Intent, str], ...]:
    path = Path(__file__).with_name("examples.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    known = [
        (Intent(name), phrase)
        for name, group in table.items()
        for phrase in (*group["en"], *group["zh"])
    ]
    asked = [(Intent.ask, phrase) for card in load_cards() for phrase in card.ask.every()]
    return (*known, *asked)


@functools.cache
def _rarity() -> dict[str, float]:
    """Weight of each token: what few phrases hold says most. Function words stay, they carry the intent."""
    seen = Counter(token for _intent, phrase in _phrases() for token in set(_tokens(phrase)))
    total = len(_phrases())
    return {token: math.log(1 + total / count) for token, count in seen.items()}


@functools.cache
def _examples() -> tuple[tuple[Intent, _Vector], ...]:
    return tuple((intent, _vector(phrase, _rarity())) for intent, phrase in _phrases())


def _tokens(words: str) -> Iterable[str]:
    pieces = [_stem(piece) for piece in _PIECE.findall(words.lower())]
    yield from pieces
    for first, second in pairwise(pieces):
        yield first + " " + second


def _stem(piece: str) -> str:
    if len(piece) > 4 and piece.isascii():
        return re.sub(r"(?:ing|ed|s)$", "", piece)
    return piece


def _vector(words: str, rarity: dict[str, float]) -> _Vector:
    """Return the weighted tokens at length one; an unknown token weighs like the rarest."""
    rarest = max(rarity.values())
    raw = {token: rarity.get(token, rarest) for token in _tokens(words)}
    length = math.sqrt(sum(weight * weight for weight in raw.values()))
    return {token: weight / length for token, weight in raw.items()}


def _cosine(first: _Vector, second: _Vector) -> float:
    return sum(weight * second[token] for token, weight in first.items() if token in second)
