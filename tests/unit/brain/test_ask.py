"""Single questions: the language, the cards, what is computed, what is not known."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tutor_agent.actions.context import Context
from tutor_agent.brain.ask import Answer, ask

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return Context(tmp_path)


@pytest.mark.parametrize(
    ("question", "language", "card"),
    [
        ("LoRA 和全参有什么区别", "zh", "methods-compared"),
        ("what learning rate should I use?", "en", "learning-rate"),
        ("什么是过拟合", "zh", "overfitting"),
        ("What is overfitting?", "en", "overfitting"),
        ("what does '过拟合' mean?", "en", "overfitting"),
        ("loss 0 grad_norm nan 是什么意思", "zh", "loss-zero"),
        ("CUDA out of memory 怎么办", "zh", "out-of-memory"),
        ("my loss is nan", "en", "nan-loss"),
    ],
)
def test_the_card_answers_in_the_language_of_the_question(
    context: Context, question: str, language: str, card: str
) -> None:
    answer = ask(question, context)
    assert answer.language == language
    assert answer.cards[0] == card
    assert answer.answered_by == "builtin"
    assert answer.answer


def test_a_raw_error_is_diagnosed(context: Context) -> None:
    answer = ask("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", context)
    assert answer.cards[0].startswith("oom")


def test_memory_is_computed(context: Context) -> None:
    answer = ask("how much memory does a 7B need with full fine-tuning on 8xA100-80G?", context)
    assert "GiB" in answer.answer
    assert "full-fine-tuning" in answer.answer
    assert answer.cards == ()


def test_a_model_is_described_from_the_catalogue(context: Context) -> None:
    assert "61" in ask("deepseek v3 有多少层", context).answer


@pytest.mark.parametrize("question", ["怎么烤面包", "how do I bake bread", "今天天气怎么样"])
def test_what_is_not_known_is_not_invented(context: Context, question: str) -> None:
    answer = ask(question, context)
    assert answer.cards == ()
    assert len(answer.suggestions) == 3
    assert all(title in answer.answer for title in answer.suggestions)


@pytest.mark.parametrize(
    "question", ["", "   ", "?", "🙂", "1", "启动", "学习率调到 1e-5", "x" * 3000]
)
def test_anything_gets_an_answer(context: Context, question: str) -> None:
    answer: Answer = ask(question, context)
    assert answer.answer
