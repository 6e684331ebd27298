"""Tell a pasted training script from what a person says about it."""

from __future__ import annotations

import ast
import re
import warnings
from typing import NamedTuple

_TRAINING = re.compile(
    r"\b(?:\w*TrainingArguments|SFTConfig|(?:Seq2Seq|SFT)?Trainer|LoraConfig|FastLanguageModel|AutoModel\w*)\b\s*[(.]"
)
_ERROR = re.compile(
    r"Traceback \(most recent|^\s*File \".*\", line \d+|^\w*(?:Error|Exception):", re.M
)
_FENCE = re.compile(r"```[ \t]*(?:python|py)?[ \t]*\n(?P<code>.*?)(?:\n```|\Z)", re.S | re.I)
_STATEMENT = re.compile(
    r"^(?:from [\w.]+ import\b|import \w|def \w+\(|class \w+|@\w|#|[%!]\w|if __name__|[A-Za-z_][\w.\[\]'\"]*(?:, *\w+)* *(?::[^=]+)?=[^=]|"
    r"\w+(?:\.\w+)+\(|print\()"
)
_FEWEST_LINES = 3
_LONGEST = 200_000


class Pasted(NamedTuple):
    """A message with a script in it."""

    said: str
    code: str


def split_code(words: str) -> Pasted | None:
    """Return the words and the script of a message; None when no training script was pasted."""
    if len(words) > _LONGEST or not _TRAINING.search(words) or _ERROR.search(words):
        return None
    if (fenced := _FENCE.search(words)) is not None:
        said = f"{words[: fenced.start()]}\n{words[fenced.end() :]}"
        return Pasted(_without_blank_lines(said), fenced["code"])
    lines = words.splitlines()
    starts = [number for number, line in enumerate(lines) if _STATEMENT.match(line)]
    if not starts:
        return None
    first, last = starts[0], _end(lines, starts)
    if last - first < _FEWEST_LINES:
        return None
    said = "\n".join([*lines[:first], *lines[last:]])
    return Pasted(_without_blank_lines(said), "\n".join(lines[first:last]))


def _end(lines: list[str], starts: list[int]) -> int:
    """Return where the script ends: as far as it is Python, else behind its last statement."""
    for end in range(len(lines), max(starts[-1], len(lines) - 6), -1):
        if _is_python("\n".join(lines[starts[0] : end])):
            return end
    return len(lines)


def _is_python(code: str) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def _without_blank_lines(words: str) -> str:
    return "\n".join(line for line in words.splitlines() if line.strip())
