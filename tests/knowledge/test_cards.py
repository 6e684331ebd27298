"""Every card is whole, bilingual, sourced, and found by the questions that it answers."""

from __future__ import annotations

import datetime
import re
import tomllib
from pathlib import Path

import pytest

from tutor_agent.core.errors import NotFoundError, UserError
from tutor_agent.core.resources import bundled
from tutor_agent.core.text import detect_language
from tutor_agent.library.cards import Card, broken_cards, find_card, load_cards, read_card
from tutor_agent.library.glossary import pieces
from tutor_agent.library.search import open_index

HERE = Path(__file__).parent
CARDS = load_cards()
HEADING = re.compile(r"^(#+) ", re.MULTILINE)
HALF_WIDTH = re.compile(r"[\u4e00-\u9fff][,;:?!]|[,;?!][\u4e00-\u9fff]")

# The rows of the founding document and the cards that teach them.
TAUGHT = {
    "architecture": ["architecture", "deepseek-models"],
    "hardware": ["hardware-needs", "which-gpu", "cloud", "no-gpu"],
    "data": ["csv-preparation", "split", "data-quality", "sensitive-data", "duplicates-and-leaks"],
    "methods": ["full-fine-tuning", "layer-freezing", "lora", "qlora", "methods-compared"],
    "settings": ["learning-rate", "warmup", "batch-size", "epochs", "dropout", "weight-decay"],
    "arguments": ["renamed-arguments", "early-stopping", "schedule"],
    "losses": ["task-losses", "loss"],
    "metrics": ["bleu", "rouge", "accuracy-f1", "perplexity"],
    "environment": ["environment", "tokens", "precision"],
    "padding": ["padding-and-packing", "max-length", "label-masking"],
    "running": ["torchrun", "distributed", "first-run"],
    "evaluation": ["before-after", "perplexity"],
    "instability": ["nan-loss", "loss-zero", "loss-diverges", "gradient-clipping"],
    "overfitting": ["overfitting", "augmentation", "early-stopping"],
    "inference": ["inference-speed", "quantisation", "distillation", "generation-parameters"],
    "multi-task": ["multi-task"],
    "continual": ["ewc", "replay-distillation", "progressive-networks", "catastrophic-forgetting"],
    "interpretability": ["attention-view", "gradient-input", "logit-lens"],
    "deployment": ["merge-adapter", "gguf", "deployment", "first-run"],
}


@pytest.fixture(params=CARDS, ids=lambda card: card.id)
def card(request: pytest.FixtureRequest) -> Card:
    return request.param


def test_there_are_enough_cards_and_their_names_are_unique() -> None:
    names = [path.stem for path in (bundled("knowledge") / "cards").rglob("*.md")]
    assert len(names) == len(set(names)) == len(CARDS) >= 70


def test_the_folder_is_the_first_topic() -> None:
    topics = {card.id: card.topics[0] for card in CARDS}
    for path in (bundled("knowledge") / "cards").rglob("*.md"):
        assert path.parent.name == topics[path.stem], path


@pytest.mark.parametrize("row", TAUGHT)
def test_the_founding_document_is_covered(row: str) -> None:
    assert set(TAUGHT[row]) <= {card.id for card in CARDS}


def test_a_card_points_to_cards_that_exist_and_not_to_itself(card: Card) -> None:
    assert card.see
    assert set(card.see) <= {other.id for other in CARDS} - {card.id}


def test_the_short_answer_is_short(card: Card) -> None:
    assert 12 <= len(card.short("en").split()) <= 60
    assert 20 <= len(card.short("zh")) <= 120


def test_both_languages_have_the_same_build(card: Card) -> None:
    assert HEADING.findall(card.body.en) == HEADING.findall(card.body.zh)
    assert len(HEADING.findall(card.body.en)) >= 2
    assert card.long("en")
    assert card.long("zh")


def test_chinese_is_chinese_and_english_is_english(card: Card) -> None:
    assert detect_language(card.body.zh) == "zh"
    assert detect_language(card.title.en + card.body.en) == "en" or "(魔搭)" in card.body.en
    assert not HALF_WIDTH.search(card.body.zh), HALF_WIDTH.search(card.body.zh)
    assert all(detect_language(question) == "zh" for question in card.ask.zh)
    assert all(detect_language(question) == "en" for question in card.ask.en)


def test_a_card_names_its_sources_and_when_they_were_checked(card: Card) -> None:
    assert card.sources
    assert card.checked >= datetime.date(2026, 11, 1)
    for number in card.numbers:
        assert number.value.strip()
        assert number.source.en.strip()
        assert detect_language(number.name.en) == "en"
        assert detect_language(number.value) == "en", "a value reads alike in both languages"


def test_every_typical_question_finds_its_card_first(card: Card) -> None:
    assert len(card.ask.en) >= 2
    assert len(card.ask.zh) >= 2
    for question in card.ask.every():
        assert open_index().search(question)[0].card.id == card.id, question


def test_no_two_cards_claim_the_same_phrase() -> None:
    owners: dict[tuple[str, ...], str] = {}
    for card in CARDS:
        for alias in card.aliases.every():
            assert owners.setdefault(pieces(alias), card.id) == card.id, alias


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize(("name", "wanted"), [("paraphrases", 0.9), ("paraphrases_seen", 0.9)])
def test_paraphrases_find_their_card_among_the_first_three(
    name: str, wanted: float, language: str
) -> None:
    table = tomllib.loads((HERE / f"{name}.toml").read_text(encoding="utf-8"))
    questions: dict[str, list[str]] = table[language]
    missed = [
        question
        for question, right in questions.items()
        if not {hit.card.id for hit in open_index().search(question)} & set(right)
    ]
    assert len(missed) <= (1 - wanted) * len(questions) + 1e-9, missed


def test_the_paraphrases_are_not_the_cards_own_questions() -> None:
    table = tomllib.loads((HERE / "paraphrases.toml").read_text(encoding="utf-8"))
    own = {
        pieces(phrase) for card in CARDS for phrase in (*card.ask.every(), *card.aliases.every())
    }
    for language in ("en", "zh"):
        assert not own & {pieces(question) for question in table[language]}


def test_zero_loss_is_explained_as_a_hidden_nan() -> None:
    card = find_card("loss-zero")
    for language in ("en", "zh"):
        assert "logging_nan_inf_filter" in card.short(language)
        assert "NaN" in card.short(language)


def test_every_card_that_the_code_points_to_exists() -> None:
    root = HERE.parents[1]
    sources = [*(root / "tutor_agent").rglob("*.py"), *(root / "skills").rglob("*.py")]
    named = {
        name
        for path in sources
        for name in re.findall(r'\bcard="([a-z0-9-]+)"', path.read_text(encoding="utf-8"))
    }
    assert named <= {card.id for card in CARDS}


def test_an_unknown_card_names_near_ones() -> None:
    with pytest.raises(NotFoundError, match="learning-rate"):
        find_card("lerning-rate")


GOOD = """---
id: {id}
title: {{en: Mine, zh: 我的}}
topics: [own]
ask: {{en: [Where is my own thing?], zh: [我的东西在哪里？]}}
sources: [guide, my notebook]
checked: 2026-11-25
---
# en
Here.
# zh
这里。
"""


@pytest.fixture
def own_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(tmp_path))
    (tmp_path / "cards").mkdir()
    return tmp_path / "cards"


def test_a_persons_own_card_is_added_and_replaces_a_bundled_one(own_cards: Path) -> None:
    (own_cards / "mine.md").write_text(GOOD.format(id="mine"), encoding="utf-8")
    (own_cards / "seed.md").write_text(GOOD.format(id="seed"), encoding="utf-8")
    assert len(load_cards()) == len(CARDS) + 1
    assert find_card("seed").title.zh == "我的"
    assert find_card("mine").sources[1].zh == "my notebook"
    assert find_card("mine").sources[0].zh != "guide"


def test_a_persons_broken_card_is_a_warning(own_cards: Path) -> None:
    (own_cards / "bad.md").write_text("no head", encoding="utf-8")
    (own_cards / "odd.md").write_text(GOOD.format(id="other"), encoding="utf-8")
    assert len(load_cards()) == len(CARDS)
    assert len(broken_cards()) == 2
    assert "other" in broken_cards()[1].en


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("topics: [own]\n", ""),
        lambda text: text.replace("topics", "topic"),
        lambda text: text.replace("# zh\n", ""),
        lambda text: text.replace("[guide, my notebook]", "guide"),
        lambda text: text.replace("checked: 2026-11-25", "checked: soon"),
        lambda text: text.replace("sources:", "numbers: [{name: a}]\nsources:"),
        lambda text: text.replace("sources:", "numbers: 3\nsources:"),
    ],
)
def test_a_spoilt_card_is_explained(tmp_path: Path, spoil: object) -> None:
    assert callable(spoil)
    path = tmp_path / "mine.md"
    path.write_text(str(spoil(GOOD.format(id="mine"))), encoding="utf-8")
    with pytest.raises(UserError, match=r"mine\.md"):
        read_card(path)
