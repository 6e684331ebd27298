"""The words of the field: what they mean, and which words mean the same."""

from __future__ import annotations

import functools
import re
import tomllib
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from tutor_agent.core.contract import Contract
from tutor_agent.core.resources import bundled
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE = re.compile(r"[\u3400-\u9fff]|(?<![a-z0-9])-\d+(?![a-z0-9])|[a-z0-9]+")
_ENDING = re.compile(r"(?<=[a-z]{3})(?:ings?|ed)$|(?<=[a-z]{2}[^su])s$|(?<=[a-z]{3})e$")
_ZEROS = re.compile(r"(?<![\w.])(\d+)\.0+(?![\w.])")


class Term(Contract):
    """One word of the field."""

    id: str
    """Stable name."""
    name: Text
    """The word itself."""
    also: tuple[str, ...] = ()
    """Synonyms, abbreviations and slang, in any language."""
    meaning: Text
    """One sentence that explains it."""
    card: str | None = None
    """The card that says more."""

    def words(self) -> tuple[str, ...]:
        """Return every way to write the term."""
        return (self.name.en, self.name.zh, *self.also)


def pieces(words: str) -> tuple[str, ...]:
    """Cut `words` into the stems of Latin words, numbers and Chinese characters."""
    plain = unicodedata.normalize("NFKC", words).lower()
    return tuple(_stem(piece) for piece in _PIECE.findall(_ZEROS.sub(r"\1", plain)))


class Found(NamedTuple):
    """A known phrase in a sentence."""

    name: str
    position: int
    size: int


@dataclass(frozen=True)
class Phrasebook:
    """Finds known phrases inside a sentence, longest first."""

    entries: dict[tuple[str, ...], str]
    sizes: dict[str, tuple[int, ...]]
    """By the first piece of a phrase: how long the phrases are that start with it, longest first."""

    @classmethod
    def of(cls, phrases: dict[str, tuple[str, ...]]) -> Phrasebook:
        """Build it from phrases grouped by what they stand for."""
        entries: dict[tuple[str, ...], str] = {}
        for name, group in phrases.items():
            for phrase in group:
                entries.setdefault(pieces(phrase), name)
        entries.pop((), None)
        sizes: dict[str, set[int]] = {}
        for phrase in entries:
            sizes.setdefault(phrase[0], set()).add(len(phrase))
        return cls(entries, {first: tuple(sorted(of, reverse=True)) for first, of in sizes.items()})

    def find(self, sentence: tuple[str, ...]) -> list[Found]:
        """Return the phrases in `sentence`, longest first where they overlap."""
        found: list[Found] = []
        position = 0
        while position < len(sentence):
            longest = next(self._starting(sentence, position), None)
            if longest is not None:
                found.append(longest)
            position += longest.size if longest else 1
        return found

    def find_nested(self, sentence: tuple[str, ...]) -> list[Found]:
        """Return every phrase in `sentence`, also one that is part of a longer one."""
        return [
            found
            for position in range(len(sentence))
            for found in self._starting(sentence, position)
        ]

    def _starting(self, sentence: tuple[str, ...], position: int) -> Iterator[Found]:
        for size in self.sizes.get(sentence[position], ()):
            name = self.entries.get(sentence[position : position + size])
            if name is not None:
                yield Found(name, position, size)


@functools.cache
def load_glossary() -> tuple[Term, ...]:
    """Return all terms, in the order of the file.

    Raises:
        UserError: The file is broken.
    """
    return tuple(
        Term.parse(_term_data(name, entry), f"glossary.toml [{name}]")
        for name, entry in _read()["term"].items()
    )


@functools.cache
def synonyms() -> Phrasebook:
    """Return the phrases that search treats as one: the terms and the looser word groups."""
    groups = {f"#{term.id}": term.words() for term in load_glossary()}
    for name, words in _read()["same"].items():
        groups[f"#{name}"] = (*groups.get(f"#{name}", ()), *words)
    return Phrasebook.of(groups)


@functools.cache
def question_words() -> Phrasebook:
    """Return the words that shape a question and say nothing about its topic."""
    return Phrasebook.of({"": tuple(_read()["question_words"])})


def find_term(words: str) -> Term | None:
    """Return the term that `words` names, or the longest one that it contains."""
    by_id = {term.id: term for term in load_glossary()}
    found = _term_book().find(pieces(words))
    return by_id[max(found, key=lambda item: item.size).name] if found else None


def terms_in(words: str) -> tuple[Term, ...]:
    """Return every term that `words` mentions, each once, in order."""
    by_id = {term.id: term for term in load_glossary()}
    names = dict.fromkeys(found.name for found in _term_book().find(pieces(words)))
    return tuple(by_id[name] for name in names)


@functools.cache
def _term_book() -> Phrasebook:
    return Phrasebook.of({term.id: term.words() for term in load_glossary()})


@functools.cache
def _read() -> dict[str, Any]:
    path = bundled("knowledge") / "glossary.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


@functools.lru_cache(maxsize=4096)
def _stem(piece: str) -> str:
    """Return a Latin word without the endings of number and verb form."""
    if len(piece) < 4 or not piece.isalpha() or not piece.isascii():
        return piece
    stem = _ENDING.sub("", piece)
    if stem != piece and not piece.endswith(("e", "s")) and stem[-1] == stem[-2] not in "ls":
        return stem[:-1]
    return stem.removesuffix("e") if len(stem) > 3 else stem


def _term_data(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    rest = {key: value for key, value in entry.items() if key not in {"en", "zh"}}
    return {"id": name, "name": {"en": entry.get("en"), "zh": entry.get("zh")}, **rest}
