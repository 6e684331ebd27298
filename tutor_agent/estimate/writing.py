"""How long it takes to write the answers that an evaluation reads."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tutor_agent.core.metric_names import METRICS, metrics_of

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts
    from tutor_agent.core.plan import Plan

TOGETHER = 32
"""Answers that are written at a time."""
_LEAST_TOKENS, _USUAL_TOKENS = 16, 64
# One step of one answer takes the time of 18 tokens read, on a CPU thread (SmolLM2: 16 against 290 tokens a
# second); on a GPU the launches decide, about a millisecond a layer, whatever the batch.
_STEP_AS_READ = 18.0
_STEP_SECONDS_PER_LAYER = 1e-3


def written_rows(plan: Plan) -> int:
    """Return how many answers are written before training, and again after it."""
    if plan.model.head == "classifier":
        return 0
    names = metrics_of(plan.task, plan.evaluation.metrics)
    judged = any(METRICS[name].answers for name in names if name in METRICS)
    return max(plan.evaluation.samples, plan.evaluation.generated_rows if judged else 0)


def writing_seconds(
    plan: Plan, model: ModelFacts, longest: int | None, reading: float, *, gpu: bool
) -> float:
    """Return the time of one round of writing.

    Args:
        plan: Says how many answers, and how long they may be.
        model: What writes.
        longest: Longest answer of the data in tokens; None when it is not known.
        reading: Tokens read a second over all processes.
        gpu: Whether it runs on a GPU.
    """
    rows = written_rows(plan)
    tokens = max(_LEAST_TOKENS, 2 * (_USUAL_TOKENS if longest is None else longest))
    tokens = min(plan.evaluation.max_new_tokens, tokens)
    rounds = math.ceil(rows / TOGETHER / plan.world_size)
    together = min(rows, TOGETHER)
    step = (_STEP_AS_READ + together) / max(reading / plan.world_size, 1e-9)
    if gpu:
        step = max(together / reading, _STEP_SECONDS_PER_LAYER * model.shape.layers)
    return rounds * tokens * step
