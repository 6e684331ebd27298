"""A post-mortem of our own runs: what is wrong, and nothing else."""

from __future__ import annotations

import pytest

from tutor_agent.core.events import Event
from tutor_agent.core.plan import DataChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_run_events, read_text

WARNING = """\
transformers/modeling_utils.py:3312: FutureWarning: `is_gradient_checkpointing` is deprecated and will be \
removed in v6. Use `is_activation_checkpointing` instead.
  warnings.warn(
"""


def _plan(learning_rate: float) -> Plan:
    return Plan(
        name="own",
        skill="lora",
        task="chat",
        model=ModelChoice(source="m"),
        data=DataChoice(train="d.csv"),
        optim=OptimChoice(learning_rate=learning_rate),
    )


def _event(seq: int, step: int, kind: str, **payload: object) -> Event:
    envelope = {
        "run": "own-1",
        "attempt": 0,
        "seq": seq,
        "t": 1.0 * seq,
        "step": step,
        "kind": kind,
    }
    return Event.model_validate({**envelope, "payload": payload})


def _diverged() -> list[Event]:
    losses = [3.4, 3.2, 3.0, 3.1, 5.2, 8.9, 12.0, 14.5, 16.1]
    events = [
        _event(i, i, "step", loss=loss, grad_norm=2.0 + i) for i, loss in enumerate(losses, 1)
    ]
    for step, accuracy, loss in ((3, 0.25, 3.0), (6, 0.1, 9.0)):
        payload = {
            "split": "validation",
            "phase": "during",
            "loss": loss,
            "token_accuracy": accuracy,
        }
        events.append(_event(20 + step, step, "evaluation", **payload))
    words = "checkpoint-5 is saved but not trusted: the loss has risen far above its best stretch."
    events.append(_event(30, 6, "note", text_en=words, text_zh=words))
    events.append(_event(31, 9, "halted", reason="diverged"))
    return events


def test_divergence_is_named_alone_beside_a_deprecation_warning() -> None:
    seen = read_run_events(_diverged(), _plan(0.05))
    seen.lines = (*seen.lines, *read_text(WARNING).lines)
    findings = diagnose(seen, language="en").findings
    assert findings[0].cause == "lr_too_high"
    assert not {"renamed_argument", "overfitting"} & {finding.cause for finding in findings}


def test_evidence_is_not_repeated_and_nobody_is_quoted() -> None:
    evidence = (
        diagnose(read_run_events(_diverged(), _plan(0.05)), language="en").findings[0].evidence
    )
    assert len(set(evidence)) == len(evidence)
    assert not [text for text in evidence if text.en.startswith("You describe")]


@pytest.mark.parametrize("reason", ["disk_full", "all_labels_masked", "nothing_trainable"])
def test_a_fault_that_the_training_process_names_is_found(reason: str) -> None:
    words = {"text_en": "It stopped: why.", "text_zh": "已停止：原因。"}
    losses = [3.4, 3.2, 3.3, 3.0, 2.9, 3.0]
    events = [_event(i, i, "step", loss=loss, grad_norm=2.0) for i, loss in enumerate(losses, 1)]
    events.append(_event(9, 6, "halted", reason=reason, **words))
    result = diagnose(read_run_events(events, _plan(2e-4)), language="en")
    assert result.verdict == "fault"
    assert result.findings[0].cause == reason
    assert "It stopped: why." in {text.en for text in result.findings[0].evidence}


def test_a_run_that_was_halted_is_never_called_healthy() -> None:
    events = [_event(i, i, "step", loss=3.0 - i / 10, grad_norm=2.0) for i in range(1, 7)]
    events.append(_event(9, 6, "halted", reason="something_new", text_en="odd", text_zh="怪"))
    assert diagnose(read_run_events(events, _plan(2e-4)), language="en").verdict != "healthy"


def test_a_warning_alone_is_no_fault() -> None:
    assert diagnose(read_text(WARNING), language="en").verdict != "fault"


def test_a_run_that_failed_is_not_in_order_although_its_curve_is() -> None:
    steps = [
        _event(
            i, i, "step", loss=2.0 - i / 50, grad_norm=1.0, learning_rate=1e-4 * min(i - 1, 4) / 4
        )
        for i in range(1, 20)
    ]
    words = "MemoryError: Unable to allocate 64.0 GiB for an array"
    ended = _event(21, 19, "run_ended", state="failed", reason=words, text_en=words, text_zh=words)
    found = diagnose(read_run_events([*steps, ended], _plan(2e-4)))
    assert [one.cause for one in found.findings][:1] == ["oom_host_ram"]
    assert diagnose(read_run_events(steps, _plan(2e-4))).verdict == "healthy"
