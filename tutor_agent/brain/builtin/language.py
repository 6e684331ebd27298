"""In which language to answer: that of the person's own words, not of what they quote or paste."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.core.text import Language

_HAN = re.compile(r"[\u3400-\u9fff]")
_WORD = re.compile(r"[A-Za-z']+")
_QUOTED = re.compile(r"\"[^\"\n]*\"|“[^”\n]*”|「[^」\n]*」|`[^`\n]*`|(?<!\w)'[^'\n]*'(?!\w)")
_PATH = re.compile(r"@?[^\s，。；！？“”\"']*[/\\][^\s，。；！？“”\"']*|@[^\s，。；]+")
_ENGLISH = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "could",
        "do",
        "does",
        "did",
        "done",
        "for",
        "from",
        "get",
        "give",
        "go",
        "going",
        "good",
        "had",
        "has",
        "have",
        "how",
        "i",
        "i'm",
        "if",
        "in",
        "into",
        "is",
        "isn't",
        "it",
        "it's",
        "its",
        "let",
        "let's",
        "make",
        "me",
        "my",
        "need",
        "no",
        "not",
        "now",
        "of",
        "ok",
        "okay",
        "on",
        "only",
        "or",
        "please",
        "run",
        "set",
        "should",
        "show",
        "so",
        "start",
        "stop",
        "than",
        "thank",
        "thanks",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "this",
        "to",
        "too",
        "try",
        "use",
        "used",
        "using",
        "want",
        "was",
        "we",
        "what",
        "what's",
        "when",
        "where",
        "which",
        "who",
        "why",
        "will",
        "with",
        "without",
        "would",
        "yes",
        "you",
        "your",
        "hello",
        "hi",
        "help",
        "fix",
        "train",
        "tune",
        "change",
        "better",
        "after",
        "before",
        "much",
        "many",
        "long",
        "big",
        "small",
        "more",
        "less",
        "explain",
        "tell",
        "happened",
        "wrong",
        "continue",
        "resume",
        "run's",
    ]
)


def spoken_language(words: str, before: Language) -> Language:
    """Return the language of `words`; `before` when they carry none (numbers, names, paths)."""
    own = _PATH.sub(" ", _QUOTED.sub(" ", words))
    han = len(_HAN.findall(own))
    latin = [word.lower() for word in _WORD.findall(own)]
    english = sum(word in _ENGLISH for word in latin)
    if han and english >= 2 and han <= 2 * english and not _starts_in_chinese(own):
        return "en"
    if han:
        return "zh"
    if english or len(latin) >= 4:
        return "en"
    return before


def _starts_in_chinese(words: str) -> bool:
    first = re.search(r"[A-Za-z\u3400-\u9fff]", words)
    return first is not None and _HAN.match(first[0]) is not None
