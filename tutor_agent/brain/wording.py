"""Numbers as people say them."""

from __future__ import annotations

import math
from typing import cast

from tutor_agent.core.text import Text


def duration(hours: float) -> Text:
    """Say a span of time: seconds below a minute, then minutes, hours, days."""
    seconds = hours * 3600
    if not math.isfinite(seconds):
        return Text(en="an unknown time", zh="时间未知")
    if seconds < 90:
        number = max(1, round(seconds))
        return Text(en=f"{number} s", zh=f"{number} 秒")
    if seconds < 90 * 60:
        number = round(seconds / 60)
        return Text(en=f"{number} min", zh=f"{number} 分钟")
    if hours < 48:
        return Text(en=f"{hours:.1f} h", zh=f"{hours:.1f} 小时")
    return Text(en=f"{hours / 24:.1f} days", zh=f"{hours / 24:.1f} 天")


def parameters(count: int) -> str:
    """Say a number of weights: 135M, 7.0B."""
    for size, unit in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "K")):
        if count >= size:
            number = count / size
            return f"{number:.0f}{unit}" if number >= 100 else f"{number:.1f}{unit}"
    return str(count)


def number(value: object) -> str:
    """Say a value of a plan: small rates in powers of ten, other floats short, the rest as it is."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if 0 < abs(value) < 1e-2:
            digits, power = f"{value:.2e}".split("e")
            return f"{digits.rstrip('0').rstrip('.')}e{int(power)}"
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(number(item) for item in cast("list[object]", value))
    return str(value)


def listed(texts: list[Text]) -> Text:
    """Join sentences, each with its full stop: a space between English ones, none between Chinese ones."""
    return Text(
        en=" ".join(_ended(text.en, ".") for text in texts if text.en),
        zh="".join(_ended(text.zh, "。") for text in texts if text.zh),
    )


def _ended(words: str, stop: str) -> str:
    return words if words.rstrip()[-1:] in ".!?:。！？：…" else words.rstrip() + stop
