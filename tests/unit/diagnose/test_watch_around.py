"""The live rules over what surrounds the loss: schedule, data, memory, order of the batches, held-out figures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.diagnose.runs import PLAN, Script, plan_with
from tutor_agent.diagnose.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan

TOTAL, PEAK = 200, 2e-4


def told(events: Iterable[Event], plan: Plan = PLAN) -> list[tuple[str, int | None]]:
    watch = Watch(plan)
    found = [one for event in events for one in watch.feed(event)]
    return [(one.cause, one.step) for one in found if one.severity != "hint"]


def started(script: Script, step: int = 0, **also: Any) -> Event:
    resumed = f"checkpoint-{step}" if step else None
    figures = {"total_steps": TOTAL, "vocabulary": 1000, "resumed_from": resumed}
    return script.event("run_started", 0, **figures, **also)


def cosine(step: int, warmup: int = 6) -> float:
    """The learning rate that is logged at `step`: the one of the step before."""
    done = step - 1
    if done < warmup:
        return PEAK * done / warmup
    return PEAK * 0.5 * (1 + math.cos(math.pi * (done - warmup) / (TOTAL - warmup)))


def steps(script: Script, first: int, last: int, **figures: Any) -> Iterator[Event]:
    """Steps of a run in order; a figure may be a function of the step."""
    for step in range(first, last + 1):
        given = {name: f(step) if callable(f) else f for name, f in figures.items()}
        payload = {"loss": 2.0, "grad_norm": 1.0, "learning_rate": cosine(step), **given}
        yield script.event("step", step, **payload)


def test_the_rate_of_the_plan_is_silent() -> None:
    script = Script()
    assert told([started(script), *steps(script, 1, TOTAL)]) == []


@pytest.mark.parametrize("rate", [0.0, PEAK, 1e-6])
def test_another_rate_than_the_plans_is_told_after_three_points(rate: float) -> None:
    script = Script()
    events = [started(script), *steps(script, 1, 99), *steps(script, 100, 120, learning_rate=rate)]
    assert told(events) == [("lr_scheduler_misconfigured", 102)]


def test_a_schedule_that_starts_again_after_a_resume_was_not_restored() -> None:
    before, after = Script(), Script(attempt=1)
    events = [started(before), *steps(before, 1, 100), started(after, 100)]
    again = steps(after, 101, 110, learning_rate=lambda step: cosine(step - 100))
    assert told([*events, *again]) == [("resume_not_requested", 103)]


def test_a_schedule_that_goes_on_after_a_resume_is_silent() -> None:
    before, after = Script(), Script(attempt=1)
    events = [started(before), *steps(before, 1, 100), started(after, 90), *steps(after, 91, 200)]
    assert told(events) == []


@pytest.mark.parametrize("schedule", ["linear", "constant", "warmup_stable_decay"])
def test_every_schedule_is_known(schedule: str) -> None:
    def rate(step: int) -> float:
        if step - 1 < 6:
            return PEAK * (step - 1) / 6
        share = (step - 7) / (TOTAL - 6)
        falling = {"linear": 1 - share, "constant": 1.0}
        return PEAK * falling.get(schedule, min(1.0, (1 - share) / 0.2))

    script = Script()
    plan = plan_with(optim={"schedule": schedule})
    assert told([started(script), *steps(script, 1, TOTAL, learning_rate=rate)], plan) == []


def test_waiting_for_data_is_told() -> None:
    script = Script()
    fine = steps(script, 1, 30, seconds=0.4, data_seconds=0.02)
    slow = steps(script, 31, 40, seconds=0.4, data_seconds=2.0)
    ((cause, step),) = told([*fine, *slow])
    assert (cause, step) == ("slow_data_loading", 34)


def test_a_short_wait_or_a_single_long_one_is_silent() -> None:
    script = Script()
    events = steps(
        script, 1, 90, seconds=0.01, data_seconds=lambda step: 3.0 if step % 20 == 0 else 0.05
    )
    assert told(events) == []


def test_memory_that_never_settles_is_told() -> None:
    script = Script()
    events = steps(script, 1, 100, memory_gib=lambda step: 2.0 + 0.02 * step)
    assert told(events) == [("oom_host_ram", 50)]


@pytest.mark.parametrize(
    "level",
    [
        lambda step: 2.0 + min(1.5, 0.05 * step),
        lambda step: 2.0 + 0.4 * math.log(step),
        lambda step: 2.0 + 0.9 * (step > 40),
        lambda step: 2.0 + 0.3 * (step % 7),
        lambda step: 2.0 + 0.001 * step,
    ],
)
def test_memory_that_settles_or_swings_is_silent(level: Any) -> None:
    assert told(steps(Script(), 1, 200, memory_gib=level)) == []


def test_batches_that_come_again_after_a_resume_are_told() -> None:
    def pieces(shift: int) -> dict[str, Any]:
        return {"batch": lambda step: 1000 + step - shift, "epoch": lambda step: step / 300}

    before, after = Script(), Script(attempt=1)
    begin = [started(before), *steps(before, 1, 60, **pieces(0)), started(after, 50)]
    assert told([*begin, *steps(after, 51, 80, **pieces(50))]) == [("resume_replays_data", 53)]
    assert told([*begin, *steps(after, 51, 80, **pieces(0))]) == []


def test_the_next_pass_may_have_the_same_batches() -> None:
    before, after = Script(), Script(attempt=1)
    figures: dict[str, Any] = {"batch": lambda step: step % 10, "epoch": lambda step: step / 10}
    events = [started(before), *steps(before, 1, 20, **figures), started(after, 20)]
    assert told([*events, *steps(after, 21, 60, **figures)]) == []


def held_out(script: Script, step: int, phase: str, loss: float) -> Event:
    return script.event("evaluation", step, split="test", phase=phase, loss=loss)


def test_losses_that_are_a_multiple_of_the_held_out_one_are_the_accumulation() -> None:
    script = Script()
    events = [started(script), held_out(script, 0, "before", 2.1)]
    assert told([*events, *steps(script, 1, 9, loss=8.6)]) == [("loss_normalisation_bug", 5)]
    assert told([*events, *steps(script, 1, 9, loss=2.4)]) == []


def test_a_base_model_worse_than_guessing_is_told_before_training() -> None:
    script = Script()
    events = [started(script), held_out(script, 0, "before", math.log(1000) + 1.5)]
    ((cause, step),) = told(events)
    assert step == 0
    assert cause in {"tied_embeddings_overwritten", "nondeterministic_vocab", "vocab_mismatch"}
    assert told([started(script), held_out(script, 0, "before", math.log(1000) + 0.1)]) == []


@pytest.mark.parametrize(
    ("end", "cause"), [(2.0, ["undertrained"]), (0.7, ["overfitting"]), (1.9, [])]
)
def test_an_end_that_is_no_better_is_told(end: float, cause: list[str]) -> None:
    script = Script()
    events = [
        started(script),
        held_out(script, 0, "before", 2.2),
        *steps(script, 1, TOTAL, loss=lambda step: 2.0 + (end - 2.0) * step / TOTAL),
        held_out(script, TOTAL, "after", 2.2),
    ]
    assert [found for found, _ in told(events)] == cause


def test_an_end_that_is_better_is_silent() -> None:
    script = Script()
    events = [
        started(script),
        held_out(script, 0, "before", 2.2),
        *steps(script, 1, TOTAL),
        held_out(script, TOTAL, "after", 2.1),
    ]
    assert told(events) == []


@pytest.mark.parametrize(
    ("figures", "cause"),
    [
        ({"damaged_rows": 40}, ["bad_data"]),
        ({"repeated_rows": 80}, ["bad_data"]),
        ({"shared_rows": 60}, ["eval_pipeline_mismatch"]),
        ({"foreign_markers": ["<|start_header_id|>", "<|eot_id|>"]}, ["template_mismatch"]),
        ({"damaged_rows": 2, "repeated_rows": 15, "shared_rows": 3, "foreign_markers": []}, []),
    ],
)
def test_the_audit_of_the_rows(figures: dict[str, Any], cause: list[str]) -> None:
    audit = {"rows": 100, "supervised_tokens": 900, "trainable": 10, "eos_supervised": 1.0}
    event = Script().event("audit", 0, **audit, **figures)
    assert [found for found, _ in told([event])] == cause


def test_weights_that_are_not_finite_themselves_are_no_matter_of_the_rate() -> None:
    script = Script()
    plan = plan_with(optim={"learning_rate": 5.0})
    halted = {"reason": "non_finite_loss", "loss": "nan", "grad_norm": "nan"}
    broken = script.event("halted", 3, **halted, damaged_weights=["layers.2.mlp.up_proj.weight"])
    assert told([*steps(script, 1, 3), broken], plan) == [("damaged_weights", 3)]
    assert told([*steps(script, 1, 3), script.event("halted", 3, **halted)], plan) != []


def test_a_gradient_that_breaks_alone_and_at_once_is_a_kernels() -> None:
    script = Script()
    broken = {"reason": "non_finite_gradient", "grad_norm": "nan"}
    calm = [*steps(script, 1, 12), script.event("halted", 12, **broken, loss=2.0)]
    assert told(calm) == [("attention_kernel_numerics", 12)]
    grown = steps(script, 1, 12, grad_norm=lambda step: 1.5**step)
    events = [*grown, script.event("halted", 12, **broken, loss=2.0)]
    assert told(events, plan_with(optim={"learning_rate": 5.0})) == [("lr_too_high", 12)]


@pytest.mark.parametrize(("dtype", "cause"), [("torch.float16", True), ("torch.float32", False)])
def test_numbers_that_break_in_fp16_overflow(dtype: str, cause: bool) -> None:
    script = Script()
    place = {"module": "model.layers.2.mlp.down_proj", "kind": "Linear", "dtype": dtype}
    broken = {"reason": "non_finite_loss", "loss": "nan", "grad_norm": "nan", "broke_in": place}
    events = [*steps(script, 1, 12), script.event("halted", 12, **broken)]
    assert (told(events)[:1] == [("fp16_overflow", 12)]) is cause
