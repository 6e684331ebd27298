"""The glossary: finding terms, phrases inside sentences, and the stems that search uses."""

from __future__ import annotations

import pytest

from tutor_agent.core.text import detect_language
from tutor_agent.library.cards import load_cards
from tutor_agent.library.glossary import (
    Phrasebook,
    find_term,
    load_glossary,
    pieces,
    question_words,
    terms_in,
)


@pytest.mark.parametrize(
    ("words", "term"),
    [
        ("lr", "learning-rate"),
        ("Learning Rates", "learning-rate"),
        ("什么是学习率？", "learning-rate"),
        ("预热", "warmup"),
        ("warm-up", "warmup"),
        ("what does gradient accumulation mean", "accumulation"),
        ("EOS", "eos"),
    ],
)
def test_a_term_is_found_by_any_of_its_words(words: str, term: str) -> None:
    found = find_term(words)
    assert found is not None
    assert found.id == term


def test_the_longest_term_wins() -> None:
    found = find_term("梯度累积")
    assert found is not None
    assert found.id == "accumulation"


def test_unknown_words_name_no_term() -> None:
    assert find_term("banana bread") is None
    assert find_term("") is None
    assert terms_in("香蕉面包") == ()


def test_terms_are_listed_once_in_order() -> None:
    terms = terms_in("学习率要预热吗？learning rate and warmup, lr")
    assert [term.id for term in terms] == ["learning-rate", "warmup"]


def test_every_term_is_explained_in_one_sentence_and_points_to_a_card() -> None:
    cards = {card.id for card in load_cards()}
    for term in load_glossary():
        assert term.card in cards, term.id
        assert term.meaning.en.endswith("."), term.id
        assert term.meaning.zh.endswith("。"), term.id
        assert detect_language(term.meaning.zh) == "zh", term.id
        assert len(term.meaning.en) <= 140, term.id


def test_no_two_terms_share_a_word() -> None:
    owners: dict[tuple[str, ...], str] = {}
    for term in load_glossary():
        for word in term.words():
            assert owners.setdefault(pieces(word), term.id) == term.id, word


def test_a_phrasebook_prefers_the_longest_phrase_and_can_list_the_nested_ones() -> None:
    book = Phrasebook.of({"a": ("learning rate",), "b": ("rate",)})
    sentence = pieces("the learning rate")
    assert [found.name for found in book.find(sentence)] == ["a"]
    assert [found.name for found in book.find_nested(sentence)] == ["a", "b"]


def test_pieces_join_forms_of_a_word_and_keep_numbers() -> None:
    assert len(set(pieces("training trained trains train"))) == 1
    assert pieces("loss losses")[0] == pieces("loss losses")[1]
    assert pieces("loss 0.0") == pieces("loss 0")
    assert "-100" in pieces("labels of -100")
    assert pieces("学习率LR") == ("学", "习", "率", "lr")
    assert pieces("ＬｏＲＡ") == ("lora",)


def test_question_words_carry_no_term() -> None:
    assert not set(question_words().entries) & {
        pieces(word) for term in load_glossary() for word in term.words()
    }
