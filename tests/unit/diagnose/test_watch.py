"""The live watch: early where it must be, silent where nothing is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.diagnose.runs import PLAN, Script, noisy, plan_with
from tutor_agent.diagnose.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.events import Event
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.plan import Plan


def findings(events: Iterable[Event], plan: Plan | None = PLAN) -> list[Finding]:
    watch = Watch(plan)
    return [found for event in events for found in watch.feed(event)]


def causes(events: Iterable[Event], plan: Plan | None = PLAN) -> list[str]:
    return [found.cause for found in findings(events, plan)]


def falling(count: int, start: float = 1.8, end: float = 1.0) -> list[float]:
    return [end + (start - end) * math.exp(-i / 150) for i in range(count)]


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_a_healthy_run_raises_nothing_that_acts(spread: float, seed: int) -> None:
    found = findings(Script().steps(noisy(falling(800), spread, seed)))
    assert [f.cause for f in found if f.severity != "hint"] == []


def test_a_non_finite_loss_is_told_at_once() -> None:
    found = findings(Script().steps([2.0, 1.9, "nan"]))
    assert [(f.severity, f.step) for f in found] == [("stop", 3)]
    assert "NaN" in found[0].evidence[0].en
    assert found[0].fixes


def test_a_non_finite_gradient_counts_although_the_loss_falls() -> None:
    script = Script()
    events = [*script.steps([4.07]), *script.steps([3.17], first=2, grad_norm="nan")]
    assert len(findings(events)) == 1


def test_the_same_fault_is_told_once_for_an_attempt() -> None:
    script = Script()
    halted = script.event("halted", 2, reason="non_finite_loss", loss="nan")
    assert len(findings([*script.steps([2.0, 1.9, "nan", "nan"]), halted])) == 1
    again = Script(attempt=1)
    events = [*script.steps([2.0, "nan"]), *again.steps([2.0, "nan"])]
    assert len(findings(events)) == 2


@pytest.mark.parametrize(
    ("plan", "events", "cause"),
    [
        (plan_with(optim={"learning_rate": 5.0}), [2.1, 7.0, 11.9, "nan"], "lr_too_high"),
        (plan_with(optim={"learning_rate": 5.0}), [2.1, "nan"], "lr_too_high"),
        (
            plan_with(optim={"learning_rate": 5.0}, model={"dtype": "fp16"}),
            [2.1, 9.0, "nan"],
            "lr_too_high",
        ),
        (plan_with(model={"dtype": "fp16"}), [2.1, 2.0, 1.9, "nan"], "fp16_overflow"),
        (PLAN, ["nan"], "attention_kernel_numerics"),
    ],
)
def test_broken_numbers_by_dtype_learning_rate_and_path(
    plan: Plan, events: list[Any], cause: str
) -> None:
    assert causes(Script().steps(events), plan) == [cause]


def test_the_guard_halting_a_divergence_is_the_learning_rate() -> None:
    plan = plan_with(optim={"learning_rate": 5.0})
    script = Script()
    events = [
        *script.steps([2.1, 6.0, 11.9], learning_rate=5.0),
        script.event("halted", 3, reason="diverged", loss=14.0, grad_norm=80.0),
    ]
    (found,) = findings(events, plan)
    assert found.cause == "lr_too_high"
    words = " ".join(text.en for text in found.evidence)
    assert "2.1 → 14" in words
    assert "2.5e+04x the usual 0.0002" in words or "25000x the usual 0.0002" in words
    assert found.fixes[0].change.entries[0].value == pytest.approx(2e-4)


def test_a_stop_on_request_is_no_fault() -> None:
    script = Script()
    assert (
        findings([*script.steps([2.0, 1.9]), script.event("halted", 2, reason="stop_requested")])
        == []
    )


def test_a_scaler_may_overflow_at_the_start_and_not_for_ever() -> None:
    plan = plan_with(model={"dtype": "fp16"})
    script = Script()
    start = [*script.steps([2.1] * 6, grad_norm="inf"), *script.steps([2.0] * 20, first=7)]
    assert findings(start, plan) == []
    later = [*start, *script.steps([2.0] * 8, first=40, grad_norm="inf")]
    assert causes(later, plan) == ["fp16_overflow"]


def test_zero_loss_and_zero_gradient_mean_no_labels() -> None:
    assert causes(Script().steps([0.0] * 5, grad_norm=0.0)) == ["all_labels_masked"]


def test_a_zero_gradient_with_a_loss_means_nothing_is_trained() -> None:
    assert causes(Script().steps([2.0] * 5, grad_norm=0.0)) == ["nothing_trainable"]


def test_a_learning_rate_of_zero_is_a_fault_only_when_it_lasts() -> None:
    script = Script()
    warm = [*script.steps([2.0] * 5, learning_rate=0.0), *script.steps([2.0] * 5, first=6)]
    assert findings(warm) == []
    assert causes(Script().steps([2.0] * 25, learning_rate=0.0)) == ["lr_scheduler_misconfigured"]


def test_a_single_spike_informs() -> None:
    losses = noisy(falling(300), 0.05)
    losses[200] *= 4
    found = findings(Script().steps(losses))
    assert [(f.cause, f.severity, f.step) for f in found] == [
        ("loss_spike_instability", "hint", 201)
    ]


@pytest.mark.parametrize("seed", range(6))
def test_drift_acts(seed: int) -> None:
    levels = falling(800)
    for i in range(400, 800):
        levels[i] *= 1 + 5 * min(1.0, (i - 400) / 300)
    found = [f for f in findings(Script().steps(noisy(levels, 0.2, seed))) if f.severity == "stop"]
    assert [f.cause for f in found] == ["lr_too_high"]
    assert found[0].step is not None
    assert 420 <= found[0].step <= 560


def test_an_early_jump_acts_before_drift_can() -> None:
    found = findings(Script().steps([2.1, 2.0, 1.9, 9.0, 9.5, 9.4, 9.6]))
    assert [(f.cause, f.step) for f in found if f.severity == "stop"] == [("lr_too_high", 6)]


def test_overfitting_needs_three_evaluations() -> None:
    script = Script()
    curve = [2.0, 1.5, 1.4, 1.5, 1.6]
    assert causes(script.evaluations(curve)) == []
    (found,) = findings(Script().evaluations([*curve, 1.7]))
    assert (found.cause, found.severity) == ("overfitting", "warn")
    assert "1.4 → 1.7" in found.evidence[0].en
    assert "第 30 步到第 60 步" in found.evidence[0].zh


def test_a_rising_training_loss_is_no_overfitting() -> None:
    script = Script()
    events = [
        *script.steps([2.0, 1.8, 1.7, 1.9, 2.4, 2.9, 3.3, 3.4]),
        *script.evaluations([1.9, 2.6, 3.0, 3.4]),
    ]
    assert "overfitting" not in causes(events)


def test_overfitting_is_told_again_only_after_a_new_best() -> None:
    once = [1.4, 1.5, 1.6, 1.7, 1.8, 1.9]
    assert len(findings(Script().evaluations(once))) == 1
    assert len(findings(Script().evaluations([*once, 1.3, 1.6, 1.7, 1.8]))) == 2


def test_evaluations_before_and_after_are_not_the_curve() -> None:
    script = Script()
    events = [
        script.event("evaluation", 0, split="test", phase=phase, loss=9.0)
        for phase in ("before", "after", "after", "after")
    ]
    assert findings(events) == []


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        ({"supervised_tokens": 0, "trainable": 10}, "all_labels_masked"),
        ({"supervised_tokens": 90, "trainable": 0}, "nothing_trainable"),
        ({"supervised_tokens": 90, "trainable": 10, "eos_supervised": 0.1}, "eos_missing_in_data"),
    ],
)
def test_the_audit_is_judged_before_the_first_step(payload: dict[str, Any], cause: str) -> None:
    assert causes([Script().event("audit", 0, **payload)]) == [cause]


def test_pieces_of_long_texts_need_no_end_each() -> None:
    text = plan_with().model_copy(update={"task": "pretraining"})
    payload = {"supervised_tokens": 90, "trainable": 10, "eos_supervised": 0.1}
    assert findings([Script().event("audit", 0, **payload)], text) == []


def test_a_good_audit_is_silent() -> None:
    payload = {"supervised_tokens": 90, "trainable": 10, "eos_supervised": 1.0, "masked_rows": 0}
    assert findings([Script().event("audit", 0, **payload)]) == []


def test_a_collapse_of_the_speed_is_told() -> None:
    script = Script()
    events = [
        *script.steps([1.5] * 60, tokens_per_second=2000.0),
        *script.steps([1.5] * 20, first=61, tokens_per_second=90.0),
    ]
    assert causes(events) == ["memory_swapping"]
