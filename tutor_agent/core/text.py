"""Sentences a person reads, in both languages."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import BaseModel, ConfigDict

Language = Literal["en", "zh"]

_HAN = re.compile(r"[\u3400-\u9fff]")


class Text(BaseModel):
    """One sentence in English and Chinese."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str
    zh: str

    def pick(self, language: Language) -> str:
        """Return the sentence in `language`."""
        return self.zh if language == "zh" else self.en

    def format(self, **values: object) -> Text:
        """Fill `{name}` places in both languages."""
        return Text(en=self.en.format(**values), zh=self.zh.format(**values))

    @classmethod
    def same(cls, words: str) -> Text:
        """Make a text that reads alike in both languages: a name, a number, a path."""
        return cls(en=words, zh=words)


def detect_language(words: str) -> Language:
    """Return "zh" when `words` holds Chinese characters, else "en"."""
    return "zh" if _HAN.search(words) else "en"
