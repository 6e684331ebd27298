"""Tell what a person pasted (logs, tracebacks) from what they say about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.code import split_code
from tutor_agent.brain.builtin.language import spoken_language

if TYPE_CHECKING:
    from tutor_agent.core.text import Language

_STRONG = re.compile(
    r"""Traceback\ \(most\ recent | \b\w*(Error|Exception|Warning)\b\s*: | CUDA\ out\ of\ memory | CUDA\ error
    | ['"](loss|eval_loss|train_loss|grad_norm|learning_rate)['"]\s*: | \bNCCL\b.*(WARN|timeout|error)
    | Watchdog\ caught | Segmentation\ fault | core\ dumped | exitcode\s*:?\s*-?\d+ | ^\s*File\ ".*",\ line\ \d+
    | \bnvidia-smi\b.*\| | Killed\ process | oom-kill | OOMKilled | DUE\ TO\ TIME\ LIMIT | slurmstepd | Bus\ error
    | device-side\ assert | std::bad_alloc | ^\s*Killed\s*$ | Loss\ is\ (nan|inf) | Missing\ key\(s\)\ in\ state_dict
    | RuntimeError | ValueError | KeyError | ImportError | ModuleNotFoundError | OutOfMemoryError""",
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)
_FIGURES = re.compile(
    r"\b(loss|eval_loss|grad_norm|lr|learning_rate|epoch|step|iter)\b['\"]?\s*[:= ]\s*(nan|-?inf|[-+]?\d[\d.e+-]*)",
    re.IGNORECASE,
)
_LINE = re.compile(
    r"""^\s*(\[|\d{4}-\d\d-\d\d|\d\d:\d\d|File\ "|Traceback|at\ |\{['"]|\w+(\.\w+)*(Error|Exception|Warning)\b|
    (INFO|WARN|WARNING|ERROR|DEBUG|FATAL)\b|\d+%\|)""",
    re.VERBOSE,
)
_HAN = re.compile(r"[\u3400-\u9fff]")
_ASKING = re.compile(
    r"[?？]|什么|怎么|为什么|如何|意思|帮我|请|吗|\b(what|why|how|help|mean|does|should)\b", re.I
)
_TELLING = re.compile(r"\s*(?:my|our|the|it|i|i'm|after|when|during|now|there|training)\b", re.I)


@dataclass(frozen=True)
class Paste:
    """A message in two parts."""

    said: str
    """The person's own words."""
    pasted: str
    """Log lines or a traceback; empty when nothing was pasted."""


def split_paste(words: str) -> Paste:
    """Split a message into the person's words and what was pasted."""
    lines = words.strip().splitlines()
    marks = [_is_log(line) for line in lines]
    if len(lines) == 1:
        return _split_line(words.strip(), log=marks[0])
    if not any(marks) or (sum(marks) < 2 and not _STRONG.search(words)):
        return Paste(said=words.strip(), pasted="")
    first, last = marks.index(True), len(marks) - 1 - marks[::-1].index(True)
    last = last if any(map(_is_speech, lines[last + 1 :])) else len(lines) - 1
    first = first if any(map(_is_speech, lines[:first])) else 0
    said = [line for line in lines[:first] + lines[last + 1 :] if line.strip()]
    return Paste(said="\n".join(said), pasted="\n".join(lines[first : last + 1]))


def _split_line(line: str, *, log: bool) -> Paste:
    if not log:
        return Paste(said=line, pasted="")
    spoken = "".join(_HAN.findall(line))
    told = bool(spoken or _ASKING.search(line) or _TELLING.match(line))
    return Paste(said=line if told else "", pasted=line)


def _is_log(line: str) -> bool:
    named = [name.lower() for name, _value in _FIGURES.findall(line)]
    figures = len(named) >= 2 and any("loss" in name or name == "grad_norm" for name in named)
    return bool(_STRONG.search(line) or _LINE.match(line) or figures)


def _is_speech(line: str) -> bool:
    if not line.strip() or _is_log(line):
        return False
    return bool(_HAN.search(line) or _ASKING.search(line))


def language_of_message(words: str, before: Language) -> Language:
    """Return the language a message is spoken in; a log that is pasted without a word changes nothing."""
    if (script := split_code(words)) is not None:
        return spoken_language(script.said, before)
    paste = split_paste(words)
    return spoken_language(paste.said if paste.pasted else words, before)
