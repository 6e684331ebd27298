"""Signs: whether one holds, how strongly, and the sentence that says so."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.text import Text
from tutor_agent.diagnose.checks import find_check
from tutor_agent.diagnose.conditions import evaluate
from tutor_agent.diagnose.faults import Sign, pattern
from tutor_agent.diagnose.known import figures
from tutor_agent.diagnose.likeness import sayings
from tutor_agent.diagnose.readers.metrics import line_metrics

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from tutor_agent.diagnose.likeness import Likeness
    from tutor_agent.diagnose.observations import Observations
    from tutor_agent.diagnose.series import Series

_PLACE = re.compile(r"\{([^{}]+)\}")
_QUOTED = 160
_LIKENESS_MOST, _LIKENESS_HALF, _LIKENESS_LEAST = 0.62, 0.1, 0.08
_BESIDE_LINES, _BESIDE_LENGTH = 12, 600
_TOLD = 0.75
_WEIGHTS = {"matches": 0.85, "check": 0.7, "when": 0.6, "symptoms": 0.45, "settings": 0.25}


_REPORTED = 0.97
"""A fault that the training process itself found and named."""


@dataclass(frozen=True, slots=True)
class Held:
    """A sign that holds."""

    weight: float
    evidence: Text
    supporting: bool
    """Settings alone never prove a fault; they only support other signs."""
    spoken: bool = False
    """It rests on what a person says alone."""
    told: bool = False
    """It is a message of the log that hardly means anything else."""
    values: Mapping[str, object] = field(default_factory=dict[str, object])
    """What was found, for the fixes to name."""


class Scene:
    """Observations prepared for many signs: every text and figure is made once."""

    def __init__(self, seen: Observations, likeness: Mapping[str, Likeness] | None = None) -> None:
        self.seen = seen
        self._likeness = likeness if likeness is not None else _likeness(seen)
        self.figures: dict[str, Series] = figures(seen)
        self.words = seen.words
        self.settings = seen.settings
        self._log = f"{seen.text}\n{self.settings}"
        self.everything = "\n".join((seen.text, seen.symptom, self.settings))

    def holding(self, signs: Iterable[Sign]) -> list[Held]:
        """Return those of `signs` that hold."""
        return [held for held in map(self.look, signs) if held is not None]

    def reported(self, slug: str) -> Held | None:
        """Return the sign that our own training process stopped for the fault `slug` by name."""
        halted = self.seen.halted
        if halted is not None and slug == "damaged_weights" and halted.payload.get(slug):
            return Held(_REPORTED, _damaged(halted.payload[slug]), supporting=False)
        if halted is None or halted.payload.get("reason") != slug:
            return None
        words = {key: str(halted.payload.get(f"text_{key}") or slug) for key in ("en", "zh")}
        return Held(_REPORTED, Text(**words), supporting=False)

    def resembling(self, slug: str) -> Held | None:
        """Return the weak sign that the words resemble a complaint of the card `slug`."""
        found = self._likeness.get(slug)
        if found is None or found.share < _LIKENESS_LEAST:
            return None
        nearest = max(likeness.share for likeness in self._likeness.values())
        evidence = Text(
            en=f"Your words resemble a known complaint: “{found.saying}”.",
            zh=f"你的描述与已知的问题相似：“{found.saying}”。",
        )
        likely = found.share / (found.share + _LIKENESS_HALF)
        weight = _LIKENESS_MOST * likely * found.share / nearest
        return Held(weight, evidence, supporting=False, spoken=True)

    def look(self, sign: Sign) -> Held | None:
        """Return what `sign` shows; None when a part of it does not hold."""
        if sign.phase and sign.phase != self.seen.phase:
            return None
        if sign.when and not _is_true(evaluate(sign.when, self.figures)):
            return None
        values: dict[str, object] = {}
        quote = ""
        for sources, text in (
            (sign.matches, self.everything),
            (sign.symptoms, self.words),
            (sign.settings, self.settings),
        ):
            found = _first_match(sources, text)
            if sources and found is None:
                return None
            if found is not None:
                quote = quote or _line_around(text, found)
                values |= {key: value or "" for key, value in found.groupdict().items()}
        weight = sign.weight
        if sign.check:
            shown = find_check(sign.check)(self.seen)
            if shown is None:
                return None
            values |= shown.values
            weight = weight or shown.weight
        supporting = bool(sign.settings) and not (
            sign.when or sign.matches or sign.symptoms or sign.check or sign.phase
        )
        weight = weight or _usual_weight(sign)
        logged = bool(sign.matches) and self._is_logged(sign)
        told = logged and weight >= _TOLD
        spoken = bool(sign.symptoms or sign.matches) and not (sign.when or sign.check or logged)
        evidence = self._evidence(sign, values, quote)
        return Held(weight, evidence, supporting, spoken, told, values)

    def fill(self, text: Text, values: Mapping[str, object] | None = None) -> Text:
        """Fill the `{…}` places of `text` with figures."""
        known = values or {}
        return Text(en=self._fill(text.en, known), zh=self._fill(text.zh, known))

    def value(self, expression: str) -> float:
        """Return the figure that `expression` names."""
        return float(evaluate(expression, self.figures))

    def _is_logged(self, sign: Sign) -> bool:
        """Whether what `sign` looks for stands in the log itself, not only in what a person says."""
        return _first_match(sign.matches, self._log) is not None

    def _evidence(self, sign: Sign, values: dict[str, object], quote: str) -> Text:
        if sign.evidence is not None:
            return self.fill(sign.evidence, values)
        if sign.matches:
            return Text(en=f"The log says: “{quote}”.", zh=f"日志写着：“{quote}”。")
        if sign.symptoms:
            return Text(en=f"You describe: “{quote}”.", zh=f"你的描述：“{quote}”。")
        if sign.settings:
            return Text(en=f"A setting: “{quote}”.", zh=f"有这样的设置：“{quote}”。")
        return Text(
            en=f"The figures show: {sign.when or sign.check}.",
            zh=f"数据显示：{sign.when or sign.check}。",
        )

    def _fill(self, template: str, values: Mapping[str, object]) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1].strip()
            if name in values:
                return write(values[name])
            try:
                return write(evaluate(name, self.figures))
            except UnreadableError:
                return match[0]

        return _PLACE.sub(replace, template)


def _damaged(names: object) -> Text:
    listed = ", ".join(map(str, names)) if isinstance(names, list) else str(names)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return Text(
        en=f"these weights are not finite themselves: {listed}",
        zh=f"这些权重本身就不是有限数：{listed}",
    )


def write(value: object) -> str:
    """Write a figure the way people read it."""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if value == int(value) and abs(value) < 1e7:
        return str(int(value))
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.4g}"


def _likeness(seen: Observations) -> Mapping[str, Likeness]:
    """Compare what a person says; a log without words says nothing in this way."""
    if seen.symptom:
        lines = [line.strip() for line in seen.lines if not line_metrics(line)][-_BESIDE_LINES:]
        beside = "\n".join([seen.settings, *lines])[:_BESIDE_LENGTH]
        return sayings().like(seen.symptom, beside=beside)
    # To know what people say takes reading every card: a run that says nothing must not wait for it.
    words = "" if seen.series or seen.error else seen.words
    return sayings().like(words) if words.strip() else {}


def _is_true(value: float | bool) -> bool:
    return bool(value) and not math.isnan(value)


def _usual_weight(sign: Sign) -> float:
    return max((weight for part, weight in _WEIGHTS.items() if getattr(sign, part)), default=0.3)


def _first_match(sources: tuple[str, ...], text: str) -> re.Match[str] | None:
    return next((m for m in (pattern(source).search(text) for source in sources) if m), None)


def _line_around(text: str, match: re.Match[str]) -> str:
    start = text.rfind("\n", 0, match.start()) + 1
    end = text.find("\n", match.end())
    line = text[start : end if end >= 0 else len(text)].strip()
    if len(line) <= _QUOTED:
        return line
    place = max(0, match.start() - start - _QUOTED // 3)
    return "…" + line[place : place + _QUOTED].strip() + "…"
