"""Metric lines of any tool: dictionaries with floats or with quoted strings, JSON, `key value` prose."""

from __future__ import annotations

import math
import re

from tutor_agent.diagnose.readers.lines import bar_figures
from tutor_agent.diagnose.series import Series

_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf(?:inity)?)\b"
_PAIR = re.compile(
    rf"""(?P<quote>["'])(?P<key>[\w/ .@()-]{{1,60}})(?P=quote)\s*:\s*["']?(?P<value>{_NUMBER})["']?""",
    re.IGNORECASE,
)
_NAMES: dict[str, tuple[str, ...]] = {
    "loss": ("loss", "train", "train_loss", "training_loss", "train/loss", "lm_loss", "train/loss_step", "loss_step", "train_loss_step", "lm loss", "损失", "训练损失"),
    "eval_loss": (
        "eval_loss", "val", "valid", "val_loss", "valid_loss", "validation_loss", "eval/loss", "val/loss", "dev_loss",
        "test_loss", "验证损失",
    ),
    "grad_norm": ("grad_norm", "gradient_norm", "gnorm", "grad norm", "train/grad_norm", "梯度范数"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "学习率"),
    "epoch": ("epoch", "train/epoch"),
    "step": (
        "step", "steps", "iter", "iters", "iteration", "global_step", "current_steps", "train/global_step",
        "global_step/max_steps",
    ),
    "tokens_per_second": (
        "tokens_per_second", "tokens/sec", "tokens/s", "tok/s", "train_tokens_per_second",
        "tokens_per_sec", "tps", "train_speed(iter/s)", "it/sec", "samples/sec", "samples/s",
    ),
    "memory_gib": ("memory_gib", "memory(gib)", "max_memory"),
    "loss_scale": ("loss_scale", "loss scale"),
    "metric_up": (
        "bleu", "rouge", "rouge-l", "rouge_l", "rougel", "acc", "accuracy", "f1", "em", "score", "map",
        "eval_accuracy", "eval_acc", "val_acc", "val_accuracy", "eval_f1", "eval_bleu", "eval_rougel",
        "eval_rouge", "pass@1", "reward", "domain_acc", "eval_score",
    ),
    "metric_down": ("wer", "cer", "ter", "eval_wer", "eval_cer", "word_error_rate"),
    "general_metric": ("general_acc", "general_accuracy", "mmlu", "ceval", "cmmlu"),
}  # fmt: skip
_CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases}
_ALIASES = "|".join(
    re.escape(alias).replace(r"\ ", "[ _]").replace("_", "[ _]").replace("[ [ _]]", "[ _]")
    for alias in sorted(_CANONICAL, key=len, reverse=True)
)
_PROSE = re.compile(
    r"(?<![\w/@.])(?P<key>(?:train(?:ing)?|val(?:id(?:ation)?)?|eval(?:uation)?)?[ _/]?(?:"
    + _ALIASES
    + rf"))\s*(?:[:=：]|\bis\b|为|是)?\s*(?P<value>{_NUMBER})(?![\w*]|\.\d|\s*(?:->|→|[GMK]i?B\b))",
    re.IGNORECASE,
)
_HINT = re.compile(
    "loss|损失|learn|lr|学习率|grad|gnorm|范数|epoch|acc|f1|bleu|rouge|wer|cer|mmlu|ceval|score|tok|sec|/s|s/it|tps|"
    "memory|reward|map|em|ter",
    re.IGNORECASE,
)
_ARROWS = re.compile(
    rf"(?P<key>[A-Za-z_][\w/]*)[\s:=]+(?P<values>(?:{_NUMBER})(?:\s*(?:->|→)\s*(?:{_NUMBER}))+)",
    re.IGNORECASE,
)
_SCALE = re.compile(r"reduc(?:ing|ed) (?:loss scale )?to (?P<value>\d[\d.]*(?:[eE][+-]?\d+)?)")
_PER_POINT = ("loss", "eval_loss", "grad_norm", "learning_rate", "tokens_per_second", "memory_gib",
              "metric_up", "metric_down", "general_metric")  # fmt: skip
_STEPLESS_GAP = 1.0
_PARTS = re.compile(r"[;；]\s+|。")


def number(word: str) -> float:
    """Read a number, NaN and infinities included."""
    return float(word)


def canonical(name: str) -> str | None:
    """Return our name of a metric, None when it is not one."""
    plain = name.strip().lower()
    for spelling in (plain, plain.replace(" ", "_"), plain.removeprefix("train_").strip()):
        if spelling in _CANONICAL:
            return _CANONICAL[spelling]
    if re.fullmatch(r"(val|valid|validation|eval|evaluation)[ _/]loss", plain):
        return "eval_loss"
    if re.fullmatch(r"train(ing)?[ _/]loss", plain):
        return "loss"
    return None


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
    if "loss" in found and "metric_up" in found and "eval_loss" not in found:
        del found["metric_up"]
    return found


class MetricReader:
    """Collects series line by line; where a log has no step numbers, points are counted."""

    def __init__(self) -> None:
        self.series: dict[str, Series] = {}
        self._step = 0.0
        self._own_steps = False
        self._bar: tuple[float, float, float | None] | None = None
        self._seen: set[str] = set()

    def feed(self, line: str) -> bool:
        """Take one line; return whether it held metrics."""
        if _HINT.search(line) is None:
            return False
        self._read_bar(line)
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
        for name, value in found.items():
            if name == "step":
                continue
            self._add(name, value, epoch)

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
            self.series.setdefault("iterations_per_second", Series()).add(bar[2], bar[0])

    def _read_arrows(self, line: str) -> bool:
        """Read `general_acc 0.64 -> 0.41` as two points."""
        read = False
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
