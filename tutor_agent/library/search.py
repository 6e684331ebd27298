"""Finding the card that answers a question: fielded BM25 over words, Chinese pairs and concepts."""

from __future__ import annotations

import difflib
import functools
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tutor_agent.library.cards import Card, load_cards, own_cards
from tutor_agent.library.glossary import (
    Phrasebook,
    load_glossary,
    pieces,
    question_words,
    synonyms,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

TITLE, ALIAS, ASK, BODY = 2.5, 2.0, 2.0, 1.0
"""Weights of the fields of a card."""

KINDS = {"concept": 1.6, "word": 1.0, "pair": 1.0, "character": 0.25, "letters": 0.2, "number": 0.4}
"""Weights of the kinds of token: a glossary concept, a word, two Chinese characters, one, three letters."""

SURE = 0.2
"""Share below which an answer would be a guess; one in twenty-five questions of the field falls below."""

_K1, _B = 1.2, 0.5
_NAMED_GAIN = 1.0
_LOOK_CLOSER = 12
_SAME_QUESTION = 2.0
_IDENTICAL = 2.0
_NAMED_SURE = 3
_HEARSAY = SURE / 2
_GOOD_GAIN, _UNKNOWN = 1.8, 2.0
_TELLING = {"concept", "word", "pair"}

Token = tuple[str, str]
Reader = Callable[[str], dict[Token, float]]


@dataclass(frozen=True)
class Hit:
    """A card found for a question."""

    card: Card
    score: float
    share: float
    """How much of what was asked the card speaks of, 0 to 1."""


def is_sure(hits: list[Hit]) -> bool:
    """Say whether the best hit is good enough to answer with; if not, offer the hits as topics."""
    return bool(hits) and hits[0].share >= SURE


class Index:
    """An index over cards, built once and asked often."""

    def __init__(self, cards: Iterable[Card]) -> None:
        self.cards = tuple(cards)
        read: Reader = functools.cache(_read_text)
        fields = [_weighted_tokens(card, read) for card in self.cards]
        lengths = [sum(field.values()) for field in fields]
        mean = sum(lengths) / max(1, len(lengths))
        self._postings: dict[Token, dict[int, float]] = {}
        for number, (field, length) in enumerate(zip(fields, lengths, strict=True)):
            damp = _K1 * (1 - _B + _B * length / mean)
            for token, weight in field.items():
                gain = weight * (_K1 + 1) / (weight + damp)
                self._postings.setdefault(token, {})[number] = gain
        self._fronts = [_front_tokens(card, read) for card in self.cards]
        self._asks = [
            [
                (frozenset(asked), sum(w * self._rarity(t) for t, w in asked.items()))
                for asked in map(read, card.ask.every())
            ]
            for card in self.cards
        ]
        self._spellings = _by_first_letter(frozenset[Token]().union(*self._fronts))
        self._aliases = Phrasebook.of(
            {str(number): card.aliases.every() for number, card in enumerate(self.cards)}
        )

    def search(self, question: str, limit: int = 3) -> list[Hit]:
        """Return the best cards for `question`, best first."""
        sentence = tuple(self._repaired(piece) for piece in pieces(question))
        asked = _tokens(sentence)
        named = self._named(sentence)
        scores = self._scores(asked)
        for number, words in named.items():
            scores[number] += _NAMED_GAIN * sum(self._rarity(("word", word)) for word in words)
        for number in sorted(scores, key=lambda number: -scores[number])[:_LOOK_CLOSER]:
            likeness = self._likeness(number, asked)
            scores[number] *= 1 + _SAME_QUESTION * likeness**2
            scores[number] *= _IDENTICAL if likeness > 0.999 else 1
        best = sorted(scores.items(), key=lambda item: (-item[1], item[0]))[:limit]
        return [
            Hit(self.cards[number], score, self._share(number, asked, named.get(number, ())))
            for number, score in best
        ]

    def near(self, question: str, limit: int = 3) -> list[Card]:
        """Return the cards to offer when no answer is sure."""
        return [hit.card for hit in self.search(question, limit)]

    def _scores(self, asked: dict[Token, float]) -> defaultdict[int, float]:
        scores: defaultdict[int, float] = defaultdict(float)
        for token, weight in asked.items():
            worth = weight * self._rarity(token)
            for number, gain in self._postings.get(token, {}).items():
                scores[number] += worth * gain
        return scores

    def _share(self, number: int, asked: dict[Token, float], named: tuple[str, ...]) -> float:
        """Weigh what the card says against all that was asked.

        Words that no card knows count double: they are what a question off the topic is made of.
        Words of the body alone prove little, a whole alias proves enough.
        """
        said = whole = 0.0
        topical = {token: weight for token, weight in asked.items() if token[1] not in _loose()}
        for token, weight in topical.items():
            worth = weight * self._rarity(token)
            gains = self._postings.get(token)
            whole += worth * _GOOD_GAIN * (1 if gains else _UNKNOWN)
            said += worth * gains.get(number, 0.0) if gains else 0.0
        share = min(1.0, said / whole) if whole else 0.0
        if not self._fronts[number].intersection(topical):
            return min(share, _HEARSAY)
        return max(share, SURE) if len(named) >= _NAMED_SURE else share

    def _likeness(self, number: int, asked: dict[Token, float]) -> float:
        """Return how far the question is one of the card's own questions, 0 to 1."""
        whole = sum(weight * self._rarity(token) for token, weight in asked.items())
        best = 0.0
        for question, size in self._asks[number]:
            shared = sum(
                weight * self._rarity(token) for token, weight in asked.items() if token in question
            )
            best = max(best, 2 * shared / (whole + size)) if whole + size else best
        return best

    def _named(self, sentence: tuple[str, ...]) -> dict[int, tuple[str, ...]]:
        """Return the cards that have an alias standing in the sentence, and its longest such alias."""
        named: dict[int, tuple[str, ...]] = {}
        for found in self._aliases.find_nested(sentence):
            words = sentence[found.position : found.position + found.size]
            number = int(found.name)
            named[number] = max(named.get(number, ()), words, key=len)
        return named

    def _rarity(self, token: Token) -> float:
        holders = len(self._postings.get(token, ()))
        return math.log(1 + (len(self.cards) - holders + 0.5) / (holders + 0.5))

    def _repaired(self, piece: str) -> str:
        """Return the nearest spelling of the cards for a Latin word that they do not know."""
        known = ("word", piece) in self._postings or (piece,) in question_words().entries
        if known or len(piece) < 4 or not (piece.isascii() and piece.isalpha()):
            return piece
        candidates = [
            word for word in self._spellings.get(piece[0], ()) if abs(len(word) - len(piece)) <= 2
        ]
        near = difflib.get_close_matches(piece, candidates, n=1, cutoff=0.8)
        return near[0] if near else piece


def open_index() -> Index:
    """Return the index over all cards, built at the first call."""
    return _index_with(own_cards())


@functools.lru_cache(maxsize=4)
def _index_with(own: tuple[Card, ...]) -> Index:
    """Keep the index for as long as the person's own cards are the same."""
    del own
    return Index(load_cards())


def _read_text(text: str) -> dict[Token, float]:
    return _tokens(pieces(text))


def _front_tokens(card: Card, read: Reader) -> frozenset[Token]:
    """Return the telling tokens of title, aliases and questions, without those of the body."""
    texts = (card.title.en, card.title.zh, *card.aliases.every(), *card.ask.every())
    return frozenset(token for text in texts for token in read(text) if token[0] in _TELLING)


@functools.cache
def _loose() -> frozenset[str]:
    """Return the concepts that are shared by all topics, such as "more" and "how long"."""
    terms = {f"#{term.id}" for term in load_glossary()}
    return frozenset(set(synonyms().entries.values()) - terms)


def _weighted_tokens(card: Card, read: Reader) -> dict[Token, float]:
    total: defaultdict[Token, float] = defaultdict(float)
    titles = (card.title.en, card.title.zh)
    fields = (
        (TITLE, titles),
        (ALIAS, card.aliases.every()),
        (ASK, card.ask.every()),
        (BODY, (card.body.en, card.body.zh)),
    )
    for weight, texts in fields:
        for text in texts:
            for token in read(text):
                if weight > BODY or token[0] != "letters":
                    total[token] += weight
    return total


def _tokens(sentence: tuple[str, ...]) -> dict[Token, float]:
    """Return the search tokens of a sentence with the weight of their kind."""
    found = [("concept", concept.name) for concept in synonyms().find_nested(sentence)]
    for segment in _segments(sentence):
        found += [(_kind(piece), piece) for piece in segment]
        found += [
            ("pair", first + second)
            for first, second in pairwise(segment)
            if _is_han(first) and _is_han(second)
        ]
        for piece in segment:
            found += [("letters", part) for part in _letters(piece)]
    return {token: KINDS[token[0]] for token in found}


def _segments(sentence: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Cut a sentence at the words that only shape a question."""
    segments: list[tuple[str, ...]] = []
    start = 0
    for found in question_words().find(sentence):
        segments.append(sentence[start : found.position])
        start = found.position + found.size
    return [segment for segment in (*segments, sentence[start:]) if segment]


def _letters(piece: str) -> list[str]:
    """Return the three-letter parts of a longer Latin word."""
    if len(piece) < 5 or not (piece.isascii() and piece.isalpha()):
        return []
    return [piece[i : i + 3] for i in range(len(piece) - 2)]


def _kind(piece: str) -> str:
    if _is_han(piece):
        return "character"
    return "number" if piece.isdigit() else "word"


def _is_han(piece: str) -> bool:
    return "\u3400" <= piece[0] <= "\u9fff"


def _by_first_letter(tokens: Iterable[Token]) -> dict[str, list[str]]:
    words: dict[str, list[str]] = {}
    for kind, word in tokens:
        if kind == "word" and len(word) >= 4 and word.isalpha():
            words.setdefault(word[0], []).append(word)
    return words
