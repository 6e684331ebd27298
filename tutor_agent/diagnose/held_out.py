"""Rules over the held-out figures from before and after training, beside the training loss."""

from __future__ import annotations

import math
import statistics
from typing import TYPE_CHECKING

from tutor_agent.core.text import Text
from tutor_agent.diagnose.signs import write
from tutor_agent.diagnose.steady import Told

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan

_FIRST_POINTS = 5
_WORSE_THAN_CHANCE = 0.5
_NEAR_THE_COUNT = (0.75, 1.35)
_LEAST_FACTOR = 1.6
_SAME = 0.0005
_LEARNT, _STILL = 0.85, 0.98


class HeldOutRules:
    """Compares the base model, the first losses and the end with each other."""

    def __init__(self, plan: Plan | None) -> None:
        self._accumulate = plan.optim.accumulate if plan is not None else 1
        self._scores_words = plan is None or plan.model.head == "language_model"
        self._chance = self._before = math.nan
        self._losses: list[float] = []

    def start(self, event: Event) -> None:
        """Take `run_started`."""
        entries = event.number("vocabulary") or 0
        self._chance = math.log(entries) if entries > 1 else math.nan

    def evaluation(self, event: Event) -> Told | None:
        """Take an evaluation on the test rows."""
        loss = event.number("loss")
        if loss is None or not math.isfinite(loss):
            return None
        if event.payload.get("phase") == "before":
            self._before = loss
            return self._above_chance(loss)
        if event.payload.get("phase") == "after":
            return self._no_better(loss)
        return None

    def step(self, event: Event, loss: float) -> Told | None:
        """Take the loss of one step."""
        self._losses.append(loss)
        if len(self._losses) != _FIRST_POINTS or self._accumulate < 2:
            return None
        first = statistics.median(self._losses)
        factor = first / self._before if self._before > 0 else math.nan
        low, high = (share * self._accumulate for share in _NEAR_THE_COUNT)
        if not (low <= factor <= high and factor >= _LEAST_FACTOR):
            return None
        evidence = Text(
            en=f"the first losses are about {write(first)}, {write(factor)} times the held-out loss of the same "
            f"weights ({write(self._before)}); gradients are accumulated over {self._accumulate} micro-batches",
            zh=f"最初的损失约为 {write(first)}，是同一权重在留出数据上损失（{write(self._before)}）的 {write(factor)} 倍；"
            f"梯度累积次数为 {self._accumulate}",
        )
        return Told("normalisation", ("loss_normalisation_bug",), evidence, "stop")

    def _above_chance(self, loss: float) -> Told | None:
        if not self._scores_words or not loss > self._chance + _WORSE_THAN_CHANCE:
            return None
        evidence = Text(
            en=f"before any training the held-out loss is {write(loss)}, worse than blind guessing "
            f"({write(self._chance)}): weights, output head or tokenizer do not belong together",
            zh=f"训练前留出数据上的损失就是 {write(loss)}，比随机猜测（{write(self._chance)}）还差："
            "权重、输出层或分词器不配套",
        )
        slugs = ("tied_embeddings_overwritten", "nondeterministic_vocab", "vocab_mismatch")
        return Told("base", slugs, evidence, "stop")

    def _no_better(self, loss: float) -> Told | None:
        """Judge the end: no better than before, with a training loss that fell or that never moved."""
        third = len(self._losses) // 3
        if loss < self._before * (1 - _SAME) or not third or math.isnan(self._before):
            return None
        start, end = (
            statistics.median(part) for part in (self._losses[:third], self._losses[-third:])
        )
        if _LEARNT * start < end < _STILL * start:
            return None
        slugs = ("undertrained",) if end >= _STILL * start else ("overfitting", "bad_data")
        evidence = Text(
            en=f"held-out loss {write(self._before)} before and {write(loss)} after training, while the training loss "
            f"went {write(start)} → {write(end)}",
            zh=f"留出数据上的损失训练前 {write(self._before)}、训练后 {write(loss)}，而训练损失 {write(start)} → {write(end)}",
        )
        return Told("outcome", slugs, evidence, "warn")
