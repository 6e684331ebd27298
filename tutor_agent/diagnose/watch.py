"""Watching a run while it goes on: cheap rules on every event, the full ranking only when one fires.

A spike informs, drift acts, and what is not a number acts at once. Every fault is reported once until
it has cleared or the run has been resumed.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from typing import TYPE_CHECKING

from tutor_agent.core.findings import Finding
from tutor_agent.core.text import Text
from tutor_agent.diagnose.checks.curves import train_rises
from tutor_agent.diagnose.checks.numerics import grows_then_breaks
from tutor_agent.diagnose.detectors import (
    DriftDetector,
    EarlyRiseDetector,
    EvaluationDetector,
    SpikeDetector,
)
from tutor_agent.diagnose.evidence import distinct
from tutor_agent.diagnose.faults import named_faults
from tutor_agent.diagnose.held_out import HeldOutRules
from tutor_agent.diagnose.known import dtype_of
from tutor_agent.diagnose.rank import candidates, finding_of, fix_of
from tutor_agent.diagnose.readers.events import EventReader, planned
from tutor_agent.diagnose.row_rules import rows_told
from tutor_agent.diagnose.signs import Scene, write
from tutor_agent.diagnose.steady import DataWaitRule, MemoryRule, ReplayRule, ScheduleRule

if TYPE_CHECKING:
    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Severity
    from tutor_agent.core.plan import Plan
    from tutor_agent.diagnose.detectors import Level
    from tutor_agent.diagnose.steady import Told

BROKEN_NUMBERS = (
    "lr_too_high",
    "fp16_overflow",
    "attention_kernel_numerics",
    "fully_masked_rows",
    "no_grad_clipping",
    "fp16_trainable_params",
)
HALF_PRECISION = ("fp16_overflow",)
BACKWARD_ONLY = ("attention_kernel_numerics",)
DIVERGENCE = ("lr_too_high", "no_grad_clipping")
STILL_WEIGHTS = ("nothing_trainable", "adapters_detached")

_POINTS_OF_NOTHING = 3
_ZERO_RATE_POINTS = 20
_SPEED_POINTS = 30
_SLOW_POINTS = 10
_SLOW_SHARE = 0.4
_UNLEARNT_EOS = 0.5
_SCALER_START, _SCALER_LATER = 25, 4


class Watch:
    """Turns events into findings; every fault is reported once until it has cleared."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan
        self._begin()

    def _begin(self) -> None:
        self._seen = planned(self.plan)
        self._reader = EventReader(self._seen)
        self._attempt = 0
        self._schedule, self._replay = ScheduleRule(self.plan), ReplayRule()
        self._held_out = HeldOutRules(self.plan)
        self._restart_rules()

    def _restart_rules(self) -> None:
        self._spike, self._drift = SpikeDetector(), DriftDetector()
        self._early, self._evaluations = EarlyRiseDetector(), EvaluationDetector()
        self._reported: set[str] = set()
        self._nothing = self._still = self._no_rate = self._slow = self._overflows = 0
        self._speeds: deque[float] = deque(maxlen=200)
        self._data_wait, self._memory = DataWaitRule(), MemoryRule()

    def feed(self, event: Event) -> list[Finding]:
        """Take one event and return what it newly shows."""
        if event.attempt > self._attempt:
            self._attempt = event.attempt
            self._restart_rules()
        self._reader.take(event)
        match event.kind:
            case "step":
                found = self._step(event)
            case "evaluation":
                found = self._evaluation(event)
            case "audit":
                found = self._audit(event)
            case "halted":
                found = self._halted(event)
            case "run_started":
                found = self._start(event)
            case _:
                found = None
        return [found] if found is not None else []

    def _start(self, event: Event) -> None:
        for rule in (self._schedule, self._replay, self._held_out):
            rule.start(event)

    def _step(self, event: Event) -> Finding | None:
        loss, gradient = event.number("loss"), event.number("grad_norm")
        if loss is None:
            return None
        bad_gradient = gradient is not None and not math.isfinite(gradient)
        self._overflows = self._overflows + 1 if bad_gradient else 0
        if not math.isfinite(loss) or (bad_gradient and not self._scaler_may_settle()):
            return self._broken(event, loss, gradient)
        if loss == 0 and gradient == 0:
            self._nothing += 1
            return self._no_labels(event) if self._nothing == _POINTS_OF_NOTHING else None
        self._nothing = 0
        found = self._motionless(event, gradient)
        return found or self._curve(event, loss) or self._speed(event) or self._around(event, loss)

    def _around(self, event: Event, loss: float) -> Finding | None:
        """Look at what surrounds the loss; every rule has to see every point."""
        rules = (self._schedule, self._replay, self._data_wait, self._memory)
        told = [self._held_out.step(event, loss), *(rule.add(event) for rule in rules)]
        return next((self._tell(one, event) for one in told if one is not None), None)

    def _tell(self, told: Told, event: Event) -> Finding | None:
        return self._report(told.rule, told.slugs, told.evidence, told.severity, event)

    def _scaler_may_settle(self) -> bool:
        """A fp16 gradient scaler meets infinities while it looks for its scale, and seldom later."""
        if dtype_of(self._seen) != "fp16":
            return False
        at_start = len(self._seen.metric("loss")) <= _SCALER_START
        return self._overflows <= (_SCALER_START if at_start else _SCALER_LATER)

    def _curve(self, event: Event, loss: float) -> Finding | None:
        early = self._early.add(loss, event.step)
        drift = self._drift.add(loss, event.step)
        spike = self._spike.add(loss, event.step)
        level = drift or early
        if level is not None:
            evidence = _risen("training loss", "训练损失", level)
            return self._report("divergence", DIVERGENCE, evidence, "stop", event)
        if spike is not None:
            evidence = Text(
                en=f"loss {write(spike.now)} at step {spike.step}, usually {write(spike.usual)}; most spikes heal",
                zh=f"第 {spike.step} 步损失 {write(spike.now)}，平时为 {write(spike.usual)}；多数尖峰会自行恢复",
            )
            return self._report("spike", ("loss_spike_instability",), evidence, "hint", event)
        return None

    def _broken(self, event: Event, loss: float, gradient: float | None) -> Finding | None:
        bad_loss = not math.isfinite(loss)
        name, value = ("loss", loss) if bad_loss else ("grad_norm", gradient)
        evidence = Text(
            en=f"{name} is {write(value)} at step {event.step}",
            zh=f"第 {event.step} 步 {name} 为 {write(value)}",
        )
        return self._report("broken", BROKEN_NUMBERS, evidence, "stop", event)

    def _halted(self, event: Event) -> Finding | None:
        reason = str(event.payload.get("reason", ""))
        if reason == "diverged":
            evidence = Text(
                en=f"the guard stopped at step {event.step}: the loss left its range",
                zh=f"守护程序在第 {event.step} 步停下：损失越界",
            )
            return self._report("divergence", DIVERGENCE, evidence, "stop", event)
        if not reason.startswith("non_finite"):
            return None
        damaged = event.payload.get("damaged_weights")
        if isinstance(damaged, list) and damaged:
            return self._damaged([str(name) for name in damaged], event)
        if (place := _half_output(event)) is not None and not self._grew():
            return self._report("broken", HALF_PRECISION, place, "stop", event)
        if reason == "non_finite_gradient" and self._breaks_backwards(event):
            return self._report("broken", BACKWARD_ONLY, _backwards(event), "stop", event)
        what = "loss" if reason.endswith("loss") else "gradient"
        evidence = Text(
            en=f"the guard stopped before step {event.step}: the {what} is not a number",
            zh=f"守护程序在第 {event.step} 步更新之前停下：{'损失' if what == 'loss' else '梯度'}不是有效数值",
        )
        return self._report("broken", BROKEN_NUMBERS, evidence, "stop", event)

    def _breaks_backwards(self, event: Event) -> bool:
        """Whether the loss is finite, nothing grew before, and the precision is wide enough."""
        loss = event.number("loss")
        wide = dtype_of(self._seen) != "fp16" and len(self._seen.metric("loss")) > 1
        return wide and loss is not None and math.isfinite(loss) and not self._grew()

    def _grew(self) -> bool:
        return grows_then_breaks(self._seen) is not None

    def _damaged(self, names: list[str], event: Event) -> Finding | None:
        """The guard lets no bad step reach the weights: what is in them came from outside."""
        listed = ", ".join(names)
        evidence = Text(
            en=f"before step {event.step + 1} these weights are not finite themselves: {listed}",
            zh=f"在第 {event.step + 1} 步之前，这些权重本身就不是有限数：{listed}",
        )
        return self._report("broken", ("damaged_weights",), evidence, "stop", event)

    def _no_labels(self, event: Event) -> Finding | None:
        evidence = Text(
            en=f"loss and grad_norm are both 0 at {self._nothing} logged points up to step {event.step}",
            zh=f"到第 {event.step} 步已有 {self._nothing} 个记录点的 loss 和 grad_norm 都是 0",
        )
        return self._report("labels", ("all_labels_masked",), evidence, "stop", event)

    def _motionless(self, event: Event, gradient: float | None) -> Finding | None:
        rate = event.number("learning_rate")
        self._still = self._still + 1 if gradient == 0 else 0
        self._no_rate = self._no_rate + 1 if rate == 0 and gradient != 0 else 0
        if self._still == _POINTS_OF_NOTHING:
            evidence = Text(
                en=f"grad_norm is 0 at {self._still} logged points up to step {event.step}, the loss is not",
                zh=f"到第 {event.step} 步已有 {self._still} 个记录点的 grad_norm 为 0，而损失不为 0",
            )
            return self._report("still", STILL_WEIGHTS, evidence, "stop", event)
        if self._no_rate == _ZERO_RATE_POINTS:
            evidence = Text(
                en=f"the learning rate is 0 at {self._no_rate} logged points in a row, up to step {event.step}",
                zh=f"到第 {event.step} 步学习率已连续 {self._no_rate} 个记录点为 0",
            )
            return self._report("rate", ("lr_scheduler_misconfigured",), evidence, "stop", event)
        return None

    def _speed(self, event: Event) -> Finding | None:
        speed = event.number("tokens_per_second")
        if not speed or speed <= 0:
            return None
        usual = statistics.median(self._speeds) if len(self._speeds) >= _SPEED_POINTS else None
        is_slow = usual is not None and speed < _SLOW_SHARE * usual
        self._slow = self._slow + 1 if is_slow else 0
        if not is_slow:
            self._speeds.append(speed)
            self._reported.discard("speed")
        if usual is None or self._slow != _SLOW_POINTS:
            return None
        evidence = Text(
            en=f"{write(speed)} tokens/s at step {event.step}, before it {write(usual)}",
            zh=f"第 {event.step} 步每秒 {write(speed)} 个 token，此前为 {write(usual)}",
        )
        return self._report("speed", ("memory_swapping",), evidence, "warn", event)

    def _evaluation(self, event: Event) -> Finding | None:
        loss = event.number("loss")
        if event.payload.get("phase") != "during":
            told = self._held_out.evaluation(event)
            return self._tell(told, event) if told is not None else None
        if loss is None:
            return None
        level = self._evaluations.add(loss, event.step)
        if level is None:
            self._reported.discard("overfitting")
            return None
        if train_rises(self._seen):
            return None
        evidence = _risen("evaluation loss", "验证损失", level)
        return self._report("overfitting", ("overfitting",), evidence, "warn", event)

    def _audit(self, event: Event) -> Finding | None:
        supervised, trainable = event.number("supervised_tokens"), event.number("trainable")
        if trainable == 0:
            evidence = Text(en="0 weights are trainable", zh="可训练权重为 0")
            return self._report("still", STILL_WEIGHTS, evidence, "stop", event)
        if supervised == 0:
            evidence = Text(en="0 tokens carry loss", zh="参与损失的 token 为 0")
            return self._report("labels", ("all_labels_masked",), evidence, "stop", event)
        if told := rows_told(event, self.plan):
            return self._tell(told, event)
        # A long text is cut into pieces, of which only the last one ends.
        in_pieces = self.plan is not None and self.plan.task == "pretraining"
        if not in_pieces and _ends_are_not_learnt(event):
            evidence = Text(
                en="the end token is not among the supervised tokens of most answers",
                zh="多数回答里，结束符没有参与学习",
            )
            return self._report("ends", ("eos_missing_in_data",), evidence, "warn", event)
        return None

    def _report(
        self, rule: str, slugs: tuple[str, ...], evidence: Text, severity: Severity, event: Event
    ) -> Finding | None:
        """Let `slugs` compete for what `rule` saw; nothing when it has been reported already."""
        if rule in self._reported:
            return None
        self._reported.add(rule)
        scene = Scene(self._seen)
        ranked = candidates(scene, slugs)
        if ranked:
            found = finding_of(ranked[0], scene)
            confidence = found.confidence
        else:
            found, confidence = _bare(slugs[0], scene), 0.5
        return found.model_copy(
            update={
                "severity": severity,
                "step": event.step,
                "confidence": confidence,
                "evidence": distinct((evidence, *found.evidence)),
            }
        )


def _bare(slug: str, scene: Scene) -> Finding:
    """Make a finding of a card none of whose own signs holds."""
    (card,) = named_faults((slug,))
    fixes = tuple(fix for one in card.fixes if (fix := fix_of(one, scene)) is not None)
    return Finding(
        cause=slug,
        title=card.title,
        severity=card.severity,
        confidence=0.5,
        evidence=(),
        fixes=fixes,
    )


def _risen(name_en: str, name_zh: str, level: Level) -> Text:
    usual, now = write(level.usual), write(level.now)
    return Text(
        en=f"{name_en} {usual} → {now} between steps {level.usual_step} and {level.step}",
        zh=f"第 {level.usual_step} 步到第 {level.step} 步之间，{name_zh} {usual} → {now}",
    )


def _half_output(event: Event) -> Text | None:
    """Say where the numbers broke when that was computed in fp16."""
    place = event.payload.get("broke_in")
    if not isinstance(place, dict) or str(place.get("dtype")) not in {"torch.float16", "float16"}:
        return None
    module = place.get("module")
    return Text(
        en=f"the first output that is no number is that of {module}, computed in fp16, whose numbers end at 65504",
        zh=f"第一个异常输出来自 {module}，它以 fp16 计算，而 fp16 的数值上限是 65504",
    )


def _backwards(event: Event) -> Text:
    loss = write(event.number("loss"))
    return Text(
        en=f"the loss of step {event.step + 1} is finite ({loss}) and nothing grew before, but its gradient is not: the "
        "backward pass of a kernel is the likeliest reason",
        zh=f"第 {event.step + 1} 步的损失正常（{loss}），此前也没有增长，但梯度不是有效数值：最可能是某个算子的反向计算出错",
    )


def _ends_are_not_learnt(event: Event) -> bool:
    value = event.payload.get("eos_supervised")
    if isinstance(value, bool):
        return not value
    share = event.number("eos_supervised")
    return share is not None and share < _UNLEARNT_EOS
