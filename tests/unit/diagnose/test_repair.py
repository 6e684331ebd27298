"""Repairs keep their promises and are checked afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.diagnose.runs import PLAN, Script, plan_with
from tutor_agent.core.changes import Entry, PlanChange, diff
from tutor_agent.core.errors import InvalidPlanError
from tutor_agent.core.findings import Finding, Fix
from tutor_agent.core.text import Text
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_run_events, read_text
from tutor_agent.diagnose.repair import (
    History,
    Tried,
    Verification,
    is_gone,
    main_finding,
    next_fix,
    repaired,
)


def fix(path: str, value: Any, safety: Any = "safe", op: Any = "set") -> Fix:
    change = PlanChange(entries=(Entry(path=path, op=op, value=value),))
    return Fix(id="it", safety=safety, title=Text.same("it"), change=change)


def finding(cause: str = "lr_too_high", step: int = 5) -> Finding:
    return Finding(cause=cause, title=Text.same(cause), confidence=0.9, evidence=(), step=step)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("skill", "full-fine-tuning"),
        ("params.r", 8),
        ("data.max_length", 512),
        ("data.limit", 10),
        ("task", "qa"),
        ("model.source", "other"),
        ("optim.micro_batch", 2),
        ("optim.accumulate", 8),
        ("launch.processes", 2),
    ],
)
def test_a_safe_fix_may_not_touch(path: str, value: Any) -> None:
    with pytest.raises(InvalidPlanError, match="calls itself safe"):
        repaired(PLAN, fix(path, value))
    assert repaired(PLAN, fix(path, value, "ask")) != PLAN


@pytest.mark.parametrize(
    ("path", "value"),
    [("optim.learning_rate", 1e-5), ("model.dtype", "fp32"), ("launch.checkpointing", True)],
)
def test_a_safe_fix_may_touch(path: str, value: Any) -> None:
    assert repaired(PLAN, fix(path, value)) != PLAN


def out_of_memory(plan: Any) -> Finding:
    seen = read_text("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    seen.plan = plan
    return diagnose(seen, config=plan.model_dump(mode="json")).findings[0]


@pytest.mark.parametrize(("micro", "accumulate"), [(4, 4), (6, 1), (5, 2), (9, 3), (2, 1), (7, 1)])
def test_out_of_memory_keeps_the_samples_of_a_step(micro: int, accumulate: int) -> None:
    plan = plan_with(optim={"micro_batch": micro, "accumulate": accumulate})
    found = out_of_memory(plan)
    assert found.cause == "oom_model_states"
    smaller = next(f for f in found.fixes if f.id == "smaller-micro-batch")
    after = repaired(plan, smaller)
    assert after.optim.micro_batch <= micro / 2
    assert after.effective_batch == plan.effective_batch


def test_a_micro_batch_of_one_cannot_shrink() -> None:
    plan = plan_with(optim={"micro_batch": 1})
    found = out_of_memory(plan)
    assert "smaller-micro-batch" not in {f.id for f in found.fixes}
    first = next_fix(found, {"safe"}, plan)
    assert first is not None
    assert first.id == "checkpointing"


def test_the_next_fix_is_the_first_that_is_allowed_and_changes_the_plan() -> None:
    found = finding().model_copy(
        update={
            "fixes": (
                Fix(id="words", safety="manual", title=Text.same("words")),
                fix("optim.epochs", 1, "ask"),
                fix("optim.learning_rate", 1e-5),
            )
        }
    )
    safe, asked = next_fix(found, {"safe"}, PLAN), next_fix(found, {"safe", "ask"}, PLAN)
    assert safe is not None
    assert safe.change.paths == ("optim.learning_rate",)
    assert asked is not None
    assert asked.change.paths == ("optim.epochs",)
    mine = next_fix(found, {"safe", "ask", "manual"}, PLAN)
    assert mine is not None
    assert mine.id == "words"


@pytest.mark.parametrize("factor", [2.0, 25_000.0])
def test_the_learning_rate_comes_back_to_a_usual_one(factor: float) -> None:
    plan = plan_with(optim={"learning_rate": 2e-4 * factor})
    script = Script()
    events = [
        *script.steps([2.1, 4.0, 9.0], learning_rate=2e-4 * factor),
        script.event("halted", 3, reason="diverged", loss=12.0),
    ]
    found = diagnose(read_run_events(events, plan)).findings[0]
    first = next_fix(found, {"safe"}, plan)
    assert first is not None
    after = repaired(plan, first)
    assert found.cause == "lr_too_high"
    assert after.optim.learning_rate <= 2e-4


def test_the_fault_is_gone_when_the_run_is_well_past_it() -> None:
    fine = list(Script(1).steps([2.0 - i / 50 for i in range(30)]))
    assert is_gone(finding(), fine) is True


def test_it_is_too_early_to_say() -> None:
    assert is_gone(finding(step=90), Script(1).steps([2.0, 1.9, 1.8])) is None
    assert is_gone(finding(), []) is None


def test_the_fault_is_back() -> None:
    assert is_gone(finding(), Script(1).steps([2.0, 1.9, "nan"])) is False


def test_only_the_last_attempt_counts() -> None:
    events = [*Script(0).steps([2.0, "nan"]), *Script(1).steps([2.0 - i / 50 for i in range(30)])]
    assert is_gone(finding(), events) is True


@pytest.mark.parametrize(
    ("state", "gone"), [("completed", True), ("failed", False), ("stopped", None)]
)
def test_the_end_of_the_run_decides(state: str, gone: bool | None) -> None:
    script = Script(1)
    events = [*script.steps([2.0, 1.9]), script.event("run_ended", 2, state=state)]
    assert is_gone(finding(step=90), events) is gone


def test_overfitting_is_gone_when_evaluations_do_not_rise() -> None:
    found = finding("overfitting")
    assert is_gone(found, Script(1).evaluations([1.5, 1.4, 1.35, 1.33])) is True
    assert is_gone(found, Script(1).evaluations([1.3, 1.4, 1.5, 1.6])) is False
    assert is_gone(found, Script(1).evaluations([1.5, 1.4])) is None


def watched(found: Finding, events: Any) -> Verification:
    verification = Verification(found)
    for event in events:
        verification.feed(event)
    return verification


def test_how_long_a_repair_has_held() -> None:
    script = Script()
    begun = watched(finding(step=90), script.steps([2.0, 1.9, 1.8], first=41))
    assert (begun.held, begun.gone()) == (3, None)
    for event in script.steps([1.7] * 53, first=44):
        begun.feed(event)
    assert (begun.held, begun.gone()) == (56, True)
    begun.notice(finding("no_grad_clipping"))
    for event in script.steps([9.0, 9.0], first=97):
        begun.feed(event)
    assert (begun.held, begun.gone()) == (56, False), "the same look: the fault is back"


def test_a_hint_and_another_fault_do_not_bring_the_fault_back() -> None:
    going = watched(finding(), Script().steps([2.0] * 30))
    spike = finding("loss_spike_instability").model_copy(update={"severity": "hint"})
    going.notice(spike, finding("overfitting"))
    assert going.gone() is True


@pytest.mark.parametrize(
    ("cause", "gone"),
    [("oom_long_batch", False), ("disk_full", None), (None, None)],
)
def test_a_failure_for_another_reason_proves_nothing(cause: str | None, gone: bool | None) -> None:
    script = Script()
    events = [*script.steps([2.0, 1.9]), script.event("run_ended", 2, state="failed")]
    verification = watched(finding("oom_model_states", step=2), events)
    if cause is not None:
        verification.notice(finding(cause))
    assert verification.gone(examined=True) is gone


def test_a_failure_well_past_the_fault_does_not_undo_the_repair() -> None:
    script = Script()
    events = [*script.steps([2.0] * 30), script.event("run_ended", 30, state="failed")]
    verification = watched(finding(step=3), events)
    verification.notice(finding("disk_full"))
    assert verification.gone(examined=True) is True


def test_a_resumed_attempt_begins_its_own_proof() -> None:
    first = watched(finding(step=90), Script(0).steps([2.0] * 30))
    assert first.held == 30
    for event in Script(1).steps([2.0, 1.9], first=28):
        first.feed(event)
    assert (first.held, first.gone()) == (2, None)


def test_a_fix_that_breaks_its_promise_or_does_nothing_is_passed_over() -> None:
    ladder = (
        fix("optim.micro_batch", 2),
        fix("optim.learning_rate", PLAN.optim.learning_rate),
        fix("optim.learning_rate", 1e-5).model_copy(update={"id": "lower"}),
    )
    found = finding().model_copy(update={"fixes": ladder})
    chosen = next_fix(found, {"safe", "ask"}, PLAN)
    assert chosen is not None
    assert chosen.id == "lower"
    lower = ladder[-1]
    tried = History(tried=(Tried("no_grad_clipping", "lower", lower.change),))
    assert next_fix(found, {"safe", "ask"}, PLAN, tried) is None


def test_the_gravest_finding_is_the_one_to_repair() -> None:
    light = finding("overfitting").model_copy(update={"severity": "warn"})
    assert main_finding([light, finding()]) == finding()
    assert main_finding([finding(), light], "overfitting") == light
    assert main_finding([finding(), light], "gone") == finding()
    assert main_finding([]) is None


def test_the_micro_batch_is_halved_again_and_the_usual_rate_is_not_gone_back_to() -> None:
    plan = plan_with(optim={"micro_batch": 8}, launch={"checkpointing": True})
    tried: list[Tried] = []
    sizes: list[int] = []
    while (
        chosen := next_fix(out_of_memory(plan), {"safe"}, plan, History(tuple(tried)))
    ) is not None:
        after = repaired(plan, chosen)
        tried.append(Tried("oom_model_states", chosen.id, diff(plan, after)))
        sizes.append(after.optim.micro_batch)
        plan = after
    assert sizes == [4, 2]
    usual = fix("optim.learning_rate", 1e-5)
    found = finding().model_copy(update={"fixes": (usual,)})
    before = History((Tried("lr_too_high", usual.id, usual.change),))
    assert next_fix(found, {"safe"}, PLAN, before) is None
