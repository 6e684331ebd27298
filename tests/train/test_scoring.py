"""Metrics against hand-computed values and the libraries themselves."""

from __future__ import annotations

import pytest
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu, corpus_chrf
from sklearn.metrics import f1_score, precision_score, recall_score

from tutor_agent.core.metric_names import METRICS, TASK_METRICS, is_better, metrics_of
from tutor_agent.training.scoring import class_figures, normalised, score, words

pytestmark = pytest.mark.train

ENGLISH = (
    ["The cat sat on the mat.", "A dog barked loudly at night."],
    ["The cat is on the mat.", "A dog barked at night."],
)
CHINESE = (["今天天气很好", "我喜欢吃苹果"], ["今天天气真好", "我爱吃苹果"])
ALL = tuple(METRICS)


def test_translation_metrics_are_those_of_sacrebleu() -> None:
    said, right = ENGLISH
    found = score(said, right, "chat", ALL)
    assert found["bleu"] == pytest.approx(corpus_bleu(said, [right]).score)
    assert found["chrf"] == pytest.approx(corpus_chrf(said, [right]).score)
    assert 0 < found["bleu"] < 100


def test_chinese_is_compared_by_characters() -> None:
    said, right = CHINESE
    found = score(said, right, "chat", ALL)
    assert found["bleu"] == pytest.approx(corpus_bleu(said, [right], tokenize="zh").score)
    assert found["bleu"] > corpus_bleu(said, [right]).score
    # 5 of 6 characters on both sides, then 4 of 6 against 4 of 5.
    assert found["rouge1"] == pytest.approx((5 / 6 + 8 / 11) / 2)
    assert found["rougeL"] == pytest.approx(found["rouge1"])


def test_rouge_on_english_is_that_of_rouge_score() -> None:
    said, right = ENGLISH
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    found = score(said, right, "summarization", ALL)
    for name in ("rouge1", "rouge2", "rougeL"):
        values = [scorer.score(b, a)[name].fmeasure for a, b in zip(said, right, strict=True)]
        assert found[name] == pytest.approx(sum(values) / 2)


def test_mixed_text_keeps_latin_words_whole() -> None:
    assert words("用 PyTorch2 训练 café") == ["用", "pytorch2", "训", "练", "café"]
    found = score(["用 PyTorch 训练"], ["用 PyTorch 训练"], "chat", ("bleu", "rouge1"))
    assert found["bleu"] == pytest.approx(100.0)
    assert found["rouge1"] == 1.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The Eiffel Tower!", ["eiffel", "tower"]),
        ("  an  apple, a day ", ["apple", "day"]),
        ("《红楼梦》。", ["红", "楼", "梦"]),
        ("GPT-4 模型", ["gpt4", "模", "型"]),
        ("A", ["a"]),
        ("", []),
    ],
)
def test_answers_are_normalised_as_squad_does(text: str, expected: list[str]) -> None:
    assert normalised(text) == expected


def test_questions_are_scored_by_shared_words() -> None:
    found = score(["the big red dog", "北京市"], ["a red dog", "北京"], "qa", ALL)
    # big red dog | red dog: 2/3 and 2/2; three characters | two: 2/3 and 2/2.
    assert found["exact_match"] == 0.0
    assert found["precision"] == pytest.approx(2 / 3)
    assert found["recall"] == 1.0
    assert found["f1"] == pytest.approx(0.8)
    assert score(["The dog."], ["dog"], "qa", ALL)["exact_match"] == 1.0


def test_the_best_of_several_right_answers_counts() -> None:
    accepted = [("1867", "July 1, 1867"), ()]
    found = score(["july 1 1867", "red"], ["1867", "red"], "qa", ALL, accepted)
    assert found["exact_match"] == found["f1"] == 1.0
    alone = score(["july 1 1867", "red"], ["1867", "red"], "qa", ALL)
    assert alone["exact_match"] == 0.5
    # One word of three, then all of one.
    assert alone["f1"] == pytest.approx((0.5 + 1.0) / 2)


def test_an_empty_answer_scores_nothing() -> None:
    found = score([""], ["red dog"], "qa", ALL)
    assert set(found.values()) == {0.0}
    assert set(found) == {name for name, metric in METRICS.items() if metric.answers}
    assert score([], [], "qa", ALL) == {}


def test_class_figures_are_those_of_scikit_learn() -> None:
    right = ["cat", "dog", "dog", "bird", "cat", "dog"]
    said = ["cat", "dog", "cat", "dog", "cat", "dog"]
    found = score(said, right, "classification", ALL)
    options = {"average": "macro", "zero_division": 0}
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["precision"] == pytest.approx(precision_score(right, said, **options))
    assert found["recall"] == pytest.approx(recall_score(right, said, **options))
    assert found["f1"] == pytest.approx(f1_score(right, said, **options))
    named = class_figures(said, right)
    assert named["dog"].rows == 3
    assert named["dog"].precision == pytest.approx(2 / 3)
    assert named["bird"].f1 == 0.0


def test_an_answer_that_is_no_class_counts_against_its_row_alone() -> None:
    found = score(["yes", "I am not sure", ""], ["Yes", "no", "yes"], "classification", ALL)
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["precision"] == pytest.approx(0.5)
    assert found["recall"] == pytest.approx(0.25)


def test_one_class_alone() -> None:
    found = score(["好", "坏"], ["好", "好"], "classification", ALL)
    assert found["accuracy"] == 0.5
    assert found["precision"] == 1.0
    assert found["recall"] == 0.5


def test_every_task_is_judged_by_metrics_that_exist() -> None:
    for task, names in TASK_METRICS.items():
        assert set(names) <= set(METRICS)
        assert metrics_of(task, ("perplexity",)) == names
    assert metrics_of("chat", ("bleu",)) == ("bleu",)
    assert is_better("bleu", 2.0, 1.0)
    assert is_better("perplexity", 1.0, 2.0)
    assert not is_better("f1", 0.5, 0.5)
