"""Causes compete; healthy and unknown are answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.diagnose.runs import Script, plan_with
from tutor_agent.diagnose.rank import LEANING, THRESHOLD, diagnose
from tutor_agent.diagnose.readers import read_run_events, read_text

if TYPE_CHECKING:
    from tutor_agent.core.findings import Diagnosis


def ask(words: str, **options: Any) -> Diagnosis:
    return diagnose(read_text(words), **options)


def first(words: str, **options: Any) -> str:
    result = ask(words, **options)
    return result.findings[0].cause if result.findings else result.verdict


@pytest.mark.parametrize(
    ("words", "cause"),
    [
        ("loss 0 grad_norm nan 是什么意思", "fp16_overflow"),
        ("my model never stops generating", "eos_masked_by_pad"),
        ("微调后模型一直说个不停", "eos_masked_by_pad"),
        ("CUDA out of memory", "oom_model_states"),
        ("loss 和 grad_norm 都是 0", "all_labels_masked"),
        ("no space left on device", "disk_full"),
        ("the loss curve looks like stairs", "healthy"),
    ],
)
def test_a_bare_sentence_is_enough(words: str, cause: str) -> None:
    assert first(words) == cause
    assert first("", symptom=words) == cause


@pytest.mark.parametrize(
    "words", ["", "hello", "how are you today?", "今天天气怎么样", "import os\nprint(1)"]
)
def test_what_points_nowhere_is_unknown(words: str) -> None:
    result = ask(words)
    assert result.verdict == "unknown"
    assert result.findings == ()
    assert result.note is not None


def test_an_unknown_error_is_quoted_with_what_to_add() -> None:
    result = ask("Traceback (most recent call last):\nFrobnicationError: the gizmo is loose")
    assert result.verdict == "unknown"
    assert result.note is not None
    assert "the gizmo is loose" in result.note.en
    assert "the gizmo is loose" in result.note.zh


def test_healthy_has_no_causes_and_says_what_would_be_a_fault() -> None:
    result = ask("\n".join(f"{{'loss': {2 - i / 20}, 'grad_norm': 1.0}}" for i in range(12)))
    assert result.verdict == "healthy"
    assert result.findings == ()
    assert result.note is not None
    assert "fault" in result.note.en
    assert "才是问题" in result.note.zh


@pytest.mark.parametrize(
    ("words", "language"),
    [("爆显存了", "zh"), ("out of memory", "en"), ("CUDA out of memory 怎么办", "zh")],
)
def test_the_language_is_that_of_the_person(words: str, language: str) -> None:
    assert ask("", symptom=words).language == language
    assert ask(words, language="en").language == "en"


def test_evidence_names_numbers_steps_and_the_usual_learning_rate() -> None:
    log = "step 3 loss 2.1 lr 5\nstep 5 loss 7.0 lr 5\nstep 7 loss 11.9 lr 5"
    (found, *_) = ask(log, config={"method": "lora"}).findings
    assert found.cause == "lr_too_high"
    english = " | ".join(text.en for text in found.evidence)
    assert "loss 2.1 → 11.9 between steps 3 and 7" in english
    assert "learning rate 5 is 25000x the usual 0.0002" in english
    assert "第 3 步到第 7 步" in found.evidence[0].zh + found.evidence[1].zh


def test_the_same_error_has_opposite_cures() -> None:
    error = "TypeError: __init__() got an unexpected keyword argument 'evaluation_strategy'"
    assert first(error, config={"transformers": "5.24"}) == "renamed_argument"
    assert first(error, config={"transformers": "3.3.1"}) == "version_too_old"
    assert first(error) == "renamed_argument"


@pytest.mark.parametrize(
    ("config", "cause"),
    [
        ({"dtype": "fp16", "method": "lora", "lr": 1e-4}, "fp16_overflow"),
        ({"dtype": "fp16", "method": "lora", "lr": 5.0}, "lr_too_high"),
    ],
)
def test_fp16_and_learning_rate_are_told_apart(config: dict[str, Any], cause: str) -> None:
    assert first("{'loss': 1.9}\n{'loss': 1.8}\n{'loss': nan}", config=config) == cause


def test_doubt_is_shown() -> None:
    log = "{'loss': 1.9}\n{'loss': 1.8}\n{'loss': nan}"
    found = ask(log, config={"dtype": "fp16", "lr": 5.0, "method": "lora"}).findings
    against = {f.cause: [text.en for text in f.against] for f in found}
    assert any("explains it" in words for words in against["fp16_overflow"])


def test_confidence_orders_and_stays_below_certainty() -> None:
    for words in ("CUDA out of memory", "loss nan", "never stops generating"):
        confidences = [f.confidence for f in ask(words).findings]
        assert confidences == sorted(confidences, reverse=True)
        assert all(LEANING <= value < 1 for value in confidences)
        assert confidences[0] >= THRESHOLD


def test_settings_alone_prove_nothing() -> None:
    config = {"gradient_checkpointing": False, "tie_word_embeddings": True, "load_in_4bit": True}
    assert ask("", config=config).verdict == "unknown"


def test_secrets_do_not_reach_the_evidence() -> None:
    token = "hf_" + "a" * 34
    result = ask(f"OSError: [Errno 28] No space left on device token={token}")
    assert token not in result.model_dump_json()


def test_the_next_probe_tells_the_first_two_apart() -> None:
    result = ask("The answers never stop", symptom="never stops")
    assert result.note is not None
    assert "eos_masked_by_pad" in result.note.en
    assert "区分" in result.note.zh


def test_a_tie_without_a_common_probe_says_how_to_be_sure() -> None:
    result = ask("", symptom="it is slow and it hangs on several gpus")
    assert result.note is not None
    assert result.findings[0].cause in result.note.en
    assert result.findings[0].cause in result.note.zh


def test_a_clear_answer_asks_nothing() -> None:
    assert ask("OSError: [Errno 28] No space left on device").note is None


def test_a_message_of_the_log_outweighs_words_and_says_so() -> None:
    error = "ValueError: Attempting to unscale FP16 gradients."
    result = ask(error, symptom="it hangs at the end of the epoch on several GPUs")
    assert result.findings[0].cause == "fp16_trainable_params"
    others = [text.en for finding in result.findings[1:] for text in finding.against]
    assert any("fp16_trainable_params" in words for words in others)


def test_a_renamed_argument_is_told_by_name() -> None:
    error = "TypeError: Trainer.__init__() got an unexpected keyword argument 'tokenizer'"
    fix = ask(error, config={"transformers": "5.1"}).findings[0].fixes[0]
    assert "processing_class" in fix.title.en
    assert "processing_class" in fix.title.zh


def test_settings_side_by_side_are_no_curve() -> None:
    log = "mask prompt   {'loss': 0.80}\nlearn prompt  {'loss': 1.40}"
    assert ask(log, symptom="which of the two settings is right?").verdict == "healthy"


def test_a_run_whose_first_step_is_not_a_number() -> None:
    script = Script()
    halted = script.event("halted", 0, reason="non_finite_loss", loss="nan", grad_norm="nan")
    seen = read_run_events([halted], plan_with(optim={"learning_rate": 5.0}))
    assert diagnose(seen).findings[0].cause == "lr_too_high"


@pytest.mark.parametrize("losses", [[2.1, 4.4, 9.7], [2.1, 11.9], [2.1, 2.0, 8.0, 11.0]])
def test_a_diverged_run_is_the_learning_rate(losses: list[float]) -> None:
    script = Script()
    events = [
        *script.steps(losses, learning_rate=5.0),
        script.event("halted", len(losses), reason="diverged", loss=14.0, grad_norm=99.0),
    ]
    plan = plan_with(optim={"learning_rate": 5.0})
    result = diagnose(read_run_events(events, plan))
    assert result.findings[0].cause == "lr_too_high"
    assert result.findings[0].confidence > 0.9
