"""Metric lines of any tool: dictionaries with floats or with quoted strings, JSON, `key value` prose."""

from __future__ import annotations

import math
import re
from collections import Counter

from tutor_agent.diagnose.readers.lines import bar_figures
from tutor_agent.diagnose.readers.names import CANONICAL, canonical
from tutor_agent.diagnose.readers.tables import TableReader
from tutor_agent.diagnose.series import Series

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b"
_PAIR = re.compile(
    rf"""(?P<quote>["'])(?P<key>[\w/ .@()-]{{1,60}})(?P=quote)\s*:\s*["']?(?P<value>{_NUMBER})["']?""",
    re.IGNORECASE,
)
_ALIASES = "|".join(
    re.escape(alias).replace(r"\ ", "[ _]").replace("_", "[ _]").replace("[ [ _]]", "[ _]")
    for alias in sorted(CANONICAL, key=len, reverse=True)
)
_PROSE = re.compile(
    r"(?<![\w/@.])(?P<key>(?:train(?:ing)?|val(?:id(?:ation)?)?|eval(?:uation)?)?[ _/]?(?:"
    + _ALIASES
    + rf"))\s*(?:[:=：]|\bis\b|为|是)?\s*(?:tensor\(|\[\s*)?(?P<value>{_NUMBER})(?![\w*]|\.\d|%\||\s*(?:->|→|[GMK]i?B\b))",
    re.IGNORECASE,
)
_WORDS = (
    "loss", "损失", "learning", "学习率", "grad", "gnorm", "范数", "train ", "bleu", "rouge", "mmlu", "eval", "val",
    "score", "tok", "/s", "memory", "reward", "reducing", "domain_acc",
)  # fmt: skip
_SHORT = re.compile(r"(?<![a-z])(?:lr|acc|accuracy|f1|em|map|[wct]er|tps|pass@1)(?![a-z])")
_BAR_UNITS = ("it/s", "s/it")
_STEP_ELSEWHERE = re.compile(r"\bIter\(\w+\)\s*\[\s*(\d+)/\d+\]|第\s*(\d+)\s*步|^\d+\|(\d+)\|")
_ARROWS = re.compile(
    rf"(?P<key>[A-Za-z_][\w/]*)[\s:=]+(?P<values>(?:{_NUMBER})(?:\s*(?:->|→)\s*(?:{_NUMBER}))+)",
    re.IGNORECASE,
)
_SCALE = re.compile(r"reduc(?:ing|ed) (?:loss scale )?to (?P<value>\d[\d.]*(?:[eE][+-]?\d+)?)")
_PER_POINT = ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_per_second", "memory_gib",
              "metric_up", "metric_down", "general_metric")  # fmt: skip
_BROKEN = re.compile(r"\b(?:nan|inf)\b", re.IGNORECASE)
_STEPLESS_GAP = 1.0
_ORDINARY = 0.1
_PARTS = re.compile(r"[;；]\s+|。")


def number(word: str) -> float:
    """Read a number, NaN and infinities included."""
    return float(word)


def line_metrics(line: str) -> dict[str, float]:
    """Return the metrics of one line by our names; the first of a kind wins."""
    found: dict[str, float] = {}
    pairs = list(_PAIR.finditer(line)) if ":" in line else []
    if any(match["key"] == "train_runtime" for match in pairs):
        return {}
    for match in pairs or _PROSE.finditer(line):
        name = canonical(match["key"])
        if name is not None:
            found.setdefault(name, number(match["value"]))
    if found and "step" not in found and not pairs:
        place = _STEP_ELSEWHERE.search(line)
        if place:
            found["step"] = float(next(word for word in place.groups() if word))
    if "loss" in found and "metric_up" in found and "eval_loss" not in found:
        del found["metric_up"]
    return found


def _may_hold_metrics(line: str) -> bool:
    """Whether a closer look is worth its time: most lines of a log hold no metric."""
    low = line.lower()
    return any(word in low for word in _WORDS) or _SHORT.search(low) is not None


def _unhide(losses: list[float]) -> None:
    """Write NaN for a 0 that stands for it: the Trainer does so, and where gradients are logged they tell.

    Where they are not, a loss that falls to exactly 0 at once and stays there is no number either.
    """
    if len(losses) < 3 or losses[-1] != 0:
        return
    if math.isnan(losses[-2]):
        losses[-1] = math.nan
    elif losses[-2] == 0 and losses[-3] > _ORDINARY:
        losses[-2:] = [math.nan, math.nan]


class MetricReader:
    """Collects series line by line; where a log has no step numbers, points are counted."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self._step = 0.0
        self._own_steps = False
        self._bar: tuple[float, float, float | None] | None = None
        self._rates: dict[float, Series] = {}
        self._told: Counter[float] = Counter()
        self._seen: set[str] = set()
        self._table = TableReader()
        self._rank: int | None = None

    def feed(self, line: str, rank: int | None = None) -> bool:
        """Take one line, of process `rank` where that is known; return whether it held metrics."""
        row = self._table.feed(line)
        if row is not None:
            self.add_point(row)
            return True
        if any(unit in line for unit in _BAR_UNITS):
            self._read_bar(line)
        if not _may_hold_metrics(line):
            return False
        if rank is not None and self._repeats(line, rank):
            return True
        return self._read_metrics(line)

    def _repeats(self, line: str, rank: int) -> bool:
        """Whether `line` is what another process has told already: only its broken numbers are news."""
        if self._rank is None and line_metrics(line).keys() & set(_PER_POINT):
            self._rank = rank
        return self._rank not in {None, rank} and _BROKEN.search(line) is None

    def _read_metrics(self, line: str) -> bool:
        scale = _SCALE.search(line)
        if scale:
            self._add("loss_scale", number(scale["value"]))
        parts = _PARTS.split(line) if "{" not in line else []
        if len(parts) > 1:
            held = [self._read_line(part) for part in parts]
            return any(held)
        return self._read_line(line, told=bool(scale))

    def _read_line(self, line: str, *, told: bool = False) -> bool:
        found = line_metrics(line)
        if found.keys() & set(_PER_POINT) or ("loss_scale" in found and not told):
            self.add_point(found)
            return True
        return self._read_arrows(line)

    def add_point(self, found: dict[str, float]) -> None:
        """Add the metrics that one line, or one entry of a history, holds together."""
        self._advance(found)
        epoch = found.get("epoch", math.nan)
        if "loss" in found and self._bar is not None:
            self._told[self._bar[1]] += 1
        for name, value in found.items():
            if name == "step":
                continue
            self._add(name, value, epoch)
        if "loss" in found and "grad_norm" not in self.series:
            _unhide(self.series["loss"].values)

    def _advance(self, found: dict[str, float]) -> None:
        """Find the step of this point: said by the line, else by the bar, else counted."""
        if "step" in found:
            self._own_steps = True
            self._step = found["step"]
            return
        if self._own_steps:
            return
        is_new = "loss" in found or bool(found.keys() & self._seen)
        if self._bar is not None and self._bar[0] >= self._step:
            self._step = max(self._bar[0], self._step)
        elif is_new or not self._step:
            self._step += _STEPLESS_GAP
            self._seen = set()
        self._seen |= found.keys()

    def _read_bar(self, line: str) -> None:
        bar = bar_figures(line)
        if bar is None:
            return
        self._bar = bar
        if bar[2]:
            self._rates.setdefault(bar[1], Series()).add(bar[2], bar[0])
            self.series["iterations_per_second"] = self._rates[self._training_bar()]

    def _training_bar(self) -> float:
        """Return the length of the bar that losses come with, else of the one drawn most often.

        Loading and evaluation draw bars too.
        """
        return max(self._rates, key=lambda total: (self._told[total], len(self._rates[total])))

    def _read_arrows(self, line: str) -> bool:
        """Read `general_acc 0.64 -> 0.41` as two points."""
        read = False
        if "->" not in line and "→" not in line:
            return False
        for match in _ARROWS.finditer(line):
            name = canonical(match["key"])
            if name is None or name in {"step", "epoch"}:
                continue
            for word in re.split(r"->|→", match["values"]):
                self._step += _STEPLESS_GAP
                self._add(name, number(word.strip()))
            read = True
        return read

    def _add(self, name: str, value: float, epoch: float = math.nan) -> None:
        self.series.setdefault(name, Series()).add(value, self._step, epoch)
