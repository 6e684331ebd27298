from __future__ import annotations

import pytest

from tutor_agent.brain.builtin.language import spoken_language


@pytest.mark.parametrize(
    ("words", "before", "language"),
    [
        ("我想微调一个模型", "en", "zh"),
        ("帮我 fine-tune 一个 deepseek", "en", "zh"),
        ("用 LoRA", "en", "zh"),
        ("请解释 What is the loss", "en", "zh"),
        ("how do I train on 中文 data?", "zh", "en"),
        ('what does "损失爆炸" mean?', "zh", "en"),
        ("please look at data/客服.csv", "zh", "en"),
        ("lr 1e-5", "zh", "zh"),
        ("lr 1e-5", "en", "en"),
        ("@客服.csv", "en", "en"),
        ("2", "zh", "zh"),
        ("yes", "zh", "en"),
        ("go", "zh", "en"),
        ("ok，开始吧", "en", "zh"),
        ("I want to tune DeepSeek", "zh", "en"),
    ],
)
def test_the_language_is_that_of_the_persons_own_words(
    words: str, before: str, language: str
) -> None:
    assert spoken_language(words, before) == language  # pyright: ignore[reportArgumentType]
