"""Numbers as people write them: 1e-5, 2k, 10 %, 1,024, three, 三, 两千, 半."""

from __future__ import annotations

import re
from dataclasses import dataclass

_DIGITS = {c: i for i, c in enumerate("零一二三四五六七八九")} | {"两": 2, "俩": 2, "〇": 0}
_SCALES = {"十": 10, "百": 100, "千": 1000, "万": 10000}
_WORDS = {
    "one": 1.0,
    "two": 2.0,
    "three": 3.0,
    "four": 4.0,
    "five": 5.0,
    "six": 6.0,
    "seven": 7.0,
    "eight": 8.0,
    "nine": 9.0,
    "ten": 10.0,
    "twelve": 12.0,
    "sixteen": 16.0,
    "twenty": 20.0,
    "thirty": 30.0,
    "half": 0.5,
    "a hundred": 100.0,
    "hundred": 100.0,
}
_NUMBER = re.compile(
    rf"""(?<![A-Za-z_.\d])(?:
      (?P<power>(?:(?P<base>\d+(?:\.\d+)?)\s*[x×*]\s*)?10\s*\^\s*\(?(?P<exponent>-?\d+)\)?)
    | (?P<plain>\d{{1,3}}(?:,\d{{3}})+ | \d*\.?\d+(?:\s?[eE]\s?[-+−–]?\s?\d+)?)
      (?P<suffix>\s?[kK](?![A-Za-z])|\s?[千万百](?!兆)|\s?%|\s?％)?
    | (?P<word>\b(?:{"|".join(sorted(_WORDS, key=len, reverse=True))})\b(?!\s*-))
    ) | (?P<han>(?:[零一二三四五六七八九十百千万两〇]+(?:点[零一二三四五六七八九]+)?)|半)""",
    re.VERBOSE | re.IGNORECASE,
)
_NOT_A_NUMBER = re.compile(
    r"(减半|一下|一点|一些|一个(?!小时|半|月|epoch|轮)|一样|一起|一直|一定|第一|一般|统一|唯一|另一|万一|千万|哪一|一半|一键)"
)


@dataclass(frozen=True)
class Figure:
    """A number and where it stands."""

    start: int
    end: int
    value: float
    kilo: bool = False
    """Written with `k`: 2k tokens are 2048, 2k rows are 2000."""
    percent: bool = False
    """Written with a percent sign; the value is the share."""


def figures(words: str) -> list[Figure]:
    """Return the numbers in `words`, in order."""
    hidden = _NOT_A_NUMBER.sub(lambda m: "·" * len(m[0]), words)
    found: list[Figure] = []
    for match in _NUMBER.finditer(hidden):
        figure = _figure(match)
        if figure is not None:
            found.append(figure)
    return found


def _figure(match: re.Match[str]) -> Figure | None:
    start, end = match.span()
    if match["power"]:
        return Figure(start, end, float(match["base"] or 1) * 10.0 ** int(match["exponent"]))
    if match["word"]:
        return Figure(start, end, _WORDS[match["word"].lower()])
    if match["han"]:
        value = han_number(match["han"])
        return None if value is None else Figure(start, end, value)
    text = re.sub(r"[\s,]", "", match["plain"]).replace("−", "-").replace("–", "-")
    suffix = (match["suffix"] or "").strip().lower()
    value = float(text)
    if suffix in {"%", "％"}:
        return Figure(start, end, value / 100, percent=True)
    if suffix in _SCALES:
        value *= _SCALES[suffix]
    return Figure(start, end, value * 1000 if suffix == "k" else value, kilo=suffix == "k")


def han_number(words: str) -> float | None:
    """Read a Chinese numeral; None when the characters do not form one."""
    if words == "半":
        return 0.5
    whole, _, part = words.partition("点")
    total, current = 0, 0
    for character in whole:
        if character in _DIGITS:
            current = _DIGITS[character]
        elif character == "万":
            total, current = (total + current or 1) * 10000, 0
        else:
            total, current = total + (current or 1) * _SCALES[character], 0
    if not part:
        return float(total + current)
    return float(f"{total + current}." + "".join(str(_DIGITS[c]) for c in part))
