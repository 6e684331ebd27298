"""Text as a terminal would show it: without colours, and with progress bars overwritten."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_RANK_PREFIX = re.compile(
    r"^(?:\[(?:rank|default)?(\d+)\]:?\s?|\[\d+,(\d+)\]<std(?:out|err)>:\s?|"
    r"\s{0,3}(\d{1,4}): (?=[{\[]|Traceback|\s*File |[\w.]+Error))(?=\S)",
    re.IGNORECASE,
)

LONGEST = 4000


def clean_lines(text: str) -> list[str]:
    """Split `text` into lines; of a bar drawn with carriage returns only lines with news remain."""
    return [line for _, line in ranked_lines(text)]


def ranked_lines(text: str) -> list[tuple[int | None, str]]:
    """Return the lines of `clean_lines`, each with the process that a launcher put before it."""
    plain = _ANSI.sub("", text) if "\x1b" in text else text
    lines: list[tuple[int | None, str]] = []
    for line in plain.replace("\r\n", "\n").split("\n"):
        pieces = [
            _CONTROL.sub("", piece[: 2 * LONGEST]).rstrip()[:LONGEST] for piece in line.split("\r")
        ]
        kept = [
            piece
            for i, piece in enumerate(pieces)
            if piece and _is_news(piece, pieces, i) and not _is_prepared(piece)
        ]
        lines += [_without_rank(piece) for piece in kept]
    return lines


def _without_rank(line: str) -> tuple[int | None, str]:
    match = _RANK_PREFIX.match(line)
    if match is None:
        return None, line
    return int(next(word for word in match.groups() if word)), line[match.end() :]


def _is_news(piece: str, pieces: list[str], place: int) -> bool:
    """A bare progress bar counts only as the last one before something else; anything else always does."""
    if place == len(pieces) - 1 or "{" in piece or not is_bar(piece):
        return True
    return not is_bar(pieces[place + 1])


_BAR = re.compile(
    r"(?P<done>\d+)/(?P<total>\d+) \[(?P<time>[\d:]+)<[^,\]]*,\s*(?P<rate>[\d.]+|\?)\s*(?P<unit>it/s|s/it|[\w ]{1,12}/s)"
)
_STEPS = {"it/s", "s/it"}


def is_bar(line: str) -> bool:
    """Whether `line` draws a progress bar."""
    return ("/s" in line or "s/it" in line) and _BAR.search(line) is not None


def _is_prepared(line: str) -> bool:
    """Whether `line` only tells that rows begin to be, or have been, gone through: no news of the training."""
    if not line.endswith("/s]"):
        return False
    bar = _BAR.search(line)
    return bar is not None and bar["unit"] not in _STEPS and bar["done"] in {"0", bar["total"]}


def bar_figures(line: str) -> tuple[float, float, float | None] | None:
    """Return (done, total, iterations a second) of a progress bar that counts steps in `line`."""
    match = _BAR.search(line)
    if match is None or match["unit"] not in _STEPS:
        return None
    rate = None if match["rate"] == "?" else float(match["rate"])
    if rate and match["unit"] == "s/it":
        rate = 1 / rate
    return float(match["done"]), float(match["total"]), rate
