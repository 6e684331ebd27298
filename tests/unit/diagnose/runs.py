"""Events of pretended runs, written the way the trainer writes them."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING, Any

from tutor_agent.core.events import Event
from tutor_agent.core.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PLAN = Plan.model_validate(
    {
        "name": "support-bot",
        "skill": "lora",
        "params": {"r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"},
        "task": "chat",
        "model": {"source": "deepseek-ai/deepseek-llm-7b-chat", "dtype": "bf16"},
        "data": {"train": "train.jsonl"},
        "optim": {"learning_rate": 2e-4, "micro_batch": 4, "accumulate": 4},
    }
)


def plan_with(**changes: dict[str, Any]) -> Plan:
    """The plan with whole sections overlaid: `optim={"learning_rate": 5}`."""
    data = PLAN.model_dump(mode="json")
    for section, values in changes.items():
        data[section] |= values
    return Plan.model_validate(data)


class Script:
    """Writes events in order."""

    def __init__(self, attempt: int = 0) -> None:
        self.attempt = attempt
        self._seq = itertools.count()

    def event(self, kind: str, step: int, **payload: Any) -> Event:
        """One event."""
        return Event.model_validate(
            {
                "run": "demo-1",
                "attempt": self.attempt,
                "seq": next(self._seq),
                "t": 1.0e9 + step,
                "step": step,
                "kind": kind,
                "payload": payload,
            }
        )

    def steps(self, losses: Iterable[Any], first: int = 1, **also: Any) -> Iterator[Event]:
        """One step event for each loss."""
        payload = {"grad_norm": 1.0, "learning_rate": 2e-4, **also}
        for step, loss in enumerate(losses, first):
            yield self.event("step", step, loss=loss, **payload)

    def evaluations(self, losses: Iterable[float], every: int = 10) -> Iterator[Event]:
        """One evaluation during training for each loss."""
        for number, loss in enumerate(losses, 1):
            yield self.event(
                "evaluation", number * every, split="validation", phase="during", loss=loss
            )


def noisy(levels: Iterable[float], spread: float = 0.2, seed: int = 0) -> list[float]:
    """The levels with log-normal noise of mean 1."""
    chance = random.Random(seed)
    return [level * chance.lognormvariate(-spread * spread / 2, spread) for level in levels]
