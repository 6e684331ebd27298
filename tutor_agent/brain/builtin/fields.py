"""How people name the fields of a plan. The names are data: `fields.toml`."""

from __future__ import annotations

import functools
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pydantic import JsonValue

# Values that people name in many other contexts than the plan.
_SAID_OF_MUCH = frozenset({"task", "evaluation.metrics"})

Kind = Literal["number", "count", "share", "choice", "list", "switch", "name"]


@dataclass(frozen=True)
class Field:
    """One plan field in the words of people."""

    path: str
    kind: Kind
    names: tuple[str, ...]
    units: tuple[str, ...] = ()
    choices: tuple[tuple[str, JsonValue], ...] = ()
    """Words and the value each stands for."""
    on: JsonValue = True
    off: JsonValue = False
    when: str = ""
    """For lists: what must be in the sentence for its values to count."""


@dataclass(frozen=True)
class Named:
    """A field, or one of its values, found in a sentence."""

    start: int
    end: int
    field: Field
    value: JsonValue = None
    """Set when the words name a value."""


@functools.cache
def fields() -> dict[str, Field]:
    """Return every field that people can name, by its dotted path."""
    path = Path(__file__).with_name("fields.toml")
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    return {name: _field(name, entry) for name, entry in table.items()}


def named_fields(words: str) -> list[Named]:
    """Return the fields named in `words`, longest names first, never overlapping, in order."""
    return _found(words, _names_pattern(), _names())


def named_values(words: str) -> list[Named]:
    """Return the values of choosing fields named in `words`."""
    return _found(words, _values_pattern(), _values())


def field_in_question(words: str) -> str | None:
    """Return the field that a question is about: by its name, else by one of its values."""
    values = [item for item in named_values(words) if item.field.path not in _SAID_OF_MUCH]
    found = [item for item in named_fields(words) if not any(_covers(v, item) for v in values)]
    if found:
        return max(found, key=lambda item: item.end - item.start).field.path
    return values[0].field.path if values else None


def _covers(value: Named, name: Named) -> bool:
    """Whether a name is only part of a value: the length in `按长度分批`."""
    return (value.start <= name.start and name.end < value.end) or (
        value.start < name.start and name.end <= value.end
    )


def vocabulary() -> frozenset[str]:
    """Return the Latin words of all names and values."""
    words = [*_names(), *_values()]
    return frozenset(piece for word in words for piece in re.findall(r"[a-z]{3,}", word))


def _field(path: str, entry: dict[str, Any]) -> Field:
    choices = tuple((w, c["value"]) for c in entry.get("choice", ()) for w in c["words"])
    off = entry.get("off", False if entry["kind"] == "switch" else None)
    return Field(
        path=path,
        kind=entry["kind"],
        names=tuple(entry["names"]),
        units=tuple(entry.get("unit", ())),
        choices=choices,
        on=entry.get("on", True if entry["kind"] == "switch" else None),
        off=off,
        when=entry.get("when", ""),
    )


@functools.cache
def _names() -> dict[str, tuple[Field, Any]]:
    return {name: (field, None) for field in fields().values() for name in field.names}


@functools.cache
def _values() -> dict[str, tuple[Field, Any]]:
    return {word: (field, value) for field in fields().values() for word, value in field.choices}


@functools.cache
def _names_pattern() -> re.Pattern[str]:
    return any_of(_names())


@functools.cache
def _values_pattern() -> re.Pattern[str]:
    return any_of(_values())


def any_of(words: Any) -> re.Pattern[str]:
    """Compile a pattern for any of `words`, longest first; Latin ones only as whole words."""
    pieces: list[str] = []
    for word in sorted(words, key=len, reverse=True):
        body = re.escape(word).replace(r"\ ", r"\s+")
        head = r"(?<![A-Za-z0-9_])" if word[0].isascii() else ""
        tail = r"(?![A-Za-z0-9_])" if word[-1].isascii() else ""
        pieces.append(head + body + tail)
    return re.compile("|".join(pieces), re.IGNORECASE)


def _found(
    words: str, pattern: re.Pattern[str], table: dict[str, tuple[Field, Any]]
) -> list[Named]:
    found: list[Named] = []
    for match in pattern.finditer(words):
        key = re.sub(r"\s+", " ", match[0].lower())
        field, value = table[key]
        found.append(Named(match.start(), match.end(), field, value))
    return found
