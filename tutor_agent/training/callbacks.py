"""What happens around the steps: events, the plan's learning rate, early stopping."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from tutor_agent.core.text import Text
from tutor_agent.training.recorder import memory_gib

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from tutor_agent.training.guard import Guard
    from tutor_agent.training.recorder import Recorder


class StepEvents(TrainerCallback):
    """Write one event for every optimizer step."""

    def __init__(self, recorder: Recorder, guard: Guard) -> None:
        self._recorder = recorder
        self._guard = guard
        self._began = self._idle = time.perf_counter()
        self._seconds = self._waited = 0.0

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Start the clock; what lies between is the wait for data, but for evaluation and saving."""
        self._began = time.perf_counter()
        self._waited = self._began - self._idle

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Stop the clock, and ask for an evaluation after the last step."""
        self._idle = time.perf_counter()
        self._seconds = self._idle - self._began
        self._recorder.step = state.global_step
        if state.global_step >= state.max_steps:
            control.should_evaluate = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the figures of the step."""
        if not logs or "loss" not in logs:
            return
        facts = self._guard.facts
        tokens = facts.tokens if facts else 0
        self._recorder.write(
            "step",
            loss=facts.loss if facts else logs["loss"],
            grad_norm=logs.get("grad_norm"),
            learning_rate=logs.get("learning_rate"),
            epoch=round(state.epoch or 0.0, 4),
            tokens=tokens,
            tokens_per_second=round(tokens / self._seconds, 1) if self._seconds else None,
            memory_gib=memory_gib(),
            seconds=round(self._seconds, 4),
            data_seconds=round(self._waited, 4),
            batch=facts.batch if facts else None,
        )
        self._idle = time.perf_counter()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave an evaluation out of the wait for data."""
        self._idle = time.perf_counter()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Leave a checkpoint out of the wait for data."""
        self._idle = time.perf_counter()


class PlanWins(TrainerCallback):
    """After a resume the plan's learning rate, schedule and decay hold, not those of the checkpoint.

    A repair changes them and goes on from a good checkpoint; transformers would restore what was saved.
    An unchanged plan gives the very same numbers.
    """

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write the plan's values over those that were loaded."""
        optimizer, scheduler = kwargs.get("optimizer"), kwargs.get("lr_scheduler")
        if not state.global_step or not isinstance(optimizer, torch.optim.Optimizer):
            return
        state.compute_steps(args, state.max_steps)
        for i, group in enumerate(optimizer.param_groups):
            group["initial_lr"] = args.learning_rate
            if i == 0 and "weight_decay" in group:
                group["weight_decay"] = args.weight_decay
        if isinstance(scheduler, torch.optim.lr_scheduler.LambdaLR):
            groups = zip(optimizer.param_groups, scheduler.lr_lambdas, strict=True)
            rates: list[Any] = [
                args.learning_rate * shape(scheduler.last_epoch) for _, shape in groups
            ]
            scheduler.base_lrs = [args.learning_rate] * len(rates)
            scheduler._last_lr = rates
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate


class EarlyStop(TrainerCallback):
    """Stop after a number of evaluations without improvement, counted in the log that a resume keeps."""

    def __init__(self, patience: int, recorder: Recorder) -> None:
        self._patience = patience
        self._recorder = recorder

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Count the evaluations since the best one."""
        found = [entry["eval_loss"] for entry in state.log_history if "eval_loss" in entry]
        losses = [loss if math.isfinite(loss) else math.inf for loss in found]
        if not losses:
            return
        since_best = len(losses) - 1 - min(range(len(losses)), key=losses.__getitem__)
        if since_best >= self._patience and state.global_step < state.max_steps:
            control.should_training_stop = True
            control.should_save = True
            self._recorder.note(
                Text(
                    en=f"Stopped early at step {state.global_step}: the last {since_best} evaluations brought no "
                    "improvement.",
                    zh=f"在第 {state.global_step} 步提前停止：最近 {since_best} 次评估没有改进。",
                )
            )
