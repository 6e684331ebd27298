"""The app's own words: one TOML file a language, looked up by dotted key."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

if TYPE_CHECKING:
    from tutor_agent.core.text import Language, Text

FOLDER = Path(__file__).parent / "strings"


class Words:
    """The words of one language: `words("prompt.placeholder")`."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language
        self._table = load_table(language)

    def __call__(self, key: str, **values: object) -> str:
        """Return the sentence at `key` with its `{places}` filled."""
        sentence = self._table[key]
        return sentence.format(**values) if values else sentence

    def has(self, key: str) -> bool:
        """Return whether there is a sentence at `key`."""
        return key in self._table

    def name(self, key: str, fallback: str) -> str:
        """Return the sentence at `key`, or `fallback` for a name that people have no word for."""
        return self._table.get(key, fallback)

    def of(self, text: Text | None) -> str:
        """Return a bilingual text in this language; nothing for None."""
        return text.pick(self.language) if text else ""


class Speaker(Protocol):
    """Whoever knows the language that is shown now: the app."""

    words: Words


@cache
def load_table(language: Language) -> dict[str, str]:
    """Read one language's file into dotted keys."""
    with (FOLDER / f"{language}.toml").open("rb") as stream:
        return _flatten(tomllib.load(stream), "")


def _flatten(table: dict[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in table.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flatten(cast("dict[str, Any]", value), f"{path}.")
        else:
            flat[path] = str(value)
    return flat
