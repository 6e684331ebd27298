"""Text as a terminal would show it: without colours, and with progress bars overwritten."""

from __future__ import annotations

import re

_ANSI = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[@-_]")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f]")
_RANK_PREFIX = re.compile(r"^\[(?:rank|default)?(\d+)\]:?\s?(?=\S)", re.IGNORECASE)

LONGEST = 4000


def clean_lines(text: str) -> list[str]:
    """Split `text` into lines; of a bar drawn with carriage returns only lines with news remain."""
    plain = _ANSI.sub("", text).replace("\r\n", "\n")
    lines: list[str] = []
    for line in plain.split("\n"):
        pieces = [_CONTROL.sub("", piece).rstrip()[:LONGEST] for piece in line.split("\r")]
        kept = [piece for i, piece in enumerate(pieces) if piece and _is_news(piece, pieces, i)]
        lines += [_RANK_PREFIX.sub("", piece) for piece in kept]
    return lines


def _is_news(piece: str, pieces: list[str], place: int) -> bool:
    """A bare progress bar counts only as the last one of its line; anything else always does."""
    return not is_bar(piece) or place == len(pieces) - 1 or "{" in piece or not pieces[place + 1]


_BAR = re.compile(
    r"(?P<done>\d+)/(?P<total>\d+) \[(?P<time>[\d:]+)<[^,\]]*,\s*(?P<rate>[\d.]+|\?)\s*(?P<unit>it/s|s/it)"
)


def is_bar(line: str) -> bool:
    """Whether `line` draws a progress bar."""
    return _BAR.search(line) is not None


def bar_figures(line: str) -> tuple[float, float, float | None] | None:
    """Return (done, total, iterations a second) of a progress bar in `line`."""
    match = _BAR.search(line)
    if match is None:
        return None
    rate = None if match["rate"] == "?" else float(match["rate"])
    if rate and match["unit"] == "s/it":
        rate = 1 / rate
    return float(match["done"]), float(match["total"]), rate
