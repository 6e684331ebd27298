"""Numbers as people read them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.core.text import Language


def short(value: float | None, digits: int = 3) -> str:
    """Return a figure with few digits: `1.12`, `1.8e-4`, `NaN`, `inf`, or `–` for none."""
    if value is None:
        return "–"
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value and (abs(value) < 1e-2 or abs(value) >= 1e5):
        return tiny(value)
    return f"{value:.{digits}g}"


def tiny(value: float) -> str:
    """Return a learning rate or another small figure: `2e-4`, `1.8e-4`."""
    if not value:
        return "0"
    if not math.isfinite(value):
        return short(value)
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0')}e{int(exponent)}"


def loss(value: float | None) -> str:
    """Return a loss with two or three digits after the point."""
    if value is None or not math.isfinite(value):
        return short(value)
    if abs(value) >= 1000:
        return f"{value:.3g}"
    return f"{value:.3f}" if abs(value) < 1 else f"{value:.2f}"


def count(value: float) -> str:
    """Return a large number with a unit: `950`, `5.1k`, `6.7M`, `7.6B`."""
    for limit, unit in ((1e9, "B"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= limit:
            scaled = value / (1e3 if unit == "k" else limit)
            return f"{scaled:.0f}{unit}" if scaled >= 100 else f"{scaled:.1f}{unit}"
    return f"{value:,.0f}"


def rate(value: float | None) -> str:
    """Return tokens per second: `5.1k`."""
    if value is None or not math.isfinite(value):
        return short(value)
    return f"{value / 1000:.1f}k" if value >= 1000 else f"{value:.0f}"


def gib(value: float) -> str:
    """Return memory in GiB: `0.8`, `31`."""
    return f"{value:.1f}" if value < 10 else f"{value:.0f}"


def percent(share: float) -> str:
    """Return a share as a percentage: `0.53%`, `92%`."""
    value = share * 100
    return f"{value:.0f}%" if value >= 10 or value == 0 else f"{value:.2g}%"


def clock(seconds: float) -> str:
    """Return time as a clock: `14:20`, `3:05:00`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes:02}:{rest:02}"


_UNITS = {"zh": ("秒", "分钟", "小时", "天"), "en": ("s", "min", "h", "days")}


def duration(seconds: float, language: Language) -> str:
    """Return time in one unit: `22 分钟`, `1.5 h`."""
    second, minute, hour, day = _UNITS[language]
    if seconds < 90:
        return f"{max(1, round(seconds))} {second}"
    if seconds < 5400:
        return f"{round(seconds / 60)} {minute}"
    if seconds < 48 * 3600:
        return f"{seconds / 3600:.1f} {hour}".replace(".0 ", " ")
    return f"{seconds / 86400:.1f} {day}"
