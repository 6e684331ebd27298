"""Properties that every fault card has; its examples are run as tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.changes import apply
from tutor_agent.core.plan import Plan
from tutor_agent.core.resources import bundled
from tutor_agent.diagnose.checks import find_check
from tutor_agent.diagnose.faults import Fault, faults_dir, load_faults, phrases
from tutor_agent.diagnose.rank import diagnose, fix_of
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.repair import broken_promises
from tutor_agent.diagnose.signs import Scene

if TYPE_CHECKING:
    from tutor_agent.core.text import Text
    from tutor_agent.diagnose.faults import Example

CAUSES = frozenset(Path(__file__).with_name("causes.txt").read_text(encoding="utf-8").split())
OWN = frozenset({"damaged_weights", "slow_data_loading"})
"""Causes that the collection has no name for."""
HEADINGS = {
    "en": ["What it means", "Why it happens", "How to be sure", "How to prevent it"],
    "zh": ["含义", "原因", "如何确认", "如何避免"],
}
FAULTS = load_faults()
EXAMPLES = [
    pytest.param(fault, example, id=f"{fault.slug}-{number}")
    for fault in FAULTS
    for number, example in enumerate(fault.examples)
]
PLAN = Plan.model_validate(
    {
        "name": "support-bot",
        "skill": "lora",
        "params": {"r": 16, "alpha": 32, "dropout": 0.0, "targets": "all-linear"},
        "task": "chat",
        "model": {"source": "deepseek-ai/deepseek-llm-7b-chat"},
        "data": {"train": "train.jsonl"},
        "optim": {"learning_rate": 2e-4, "micro_batch": 6, "accumulate": 3},
        "launch": {"processes": 2},
    }
)


@pytest.fixture(params=FAULTS, ids=lambda fault: fault.slug)
def fault(request: pytest.FixtureRequest) -> Fault:
    return request.param


def answer(example: Example) -> tuple[str, str]:
    """The verdict on an example, and the cause that comes first."""
    result = diagnose(read_text(example.log), symptom=example.symptom, config=example.config)
    return result.verdict, result.findings[0].cause if result.findings else ""


def test_every_cause_has_a_card() -> None:
    assert {fault.cause for fault in FAULTS} == CAUSES | OWN


def test_codes_are_unique() -> None:
    codes = [fault.code for fault in FAULTS]
    assert len(set(codes)) == len(codes)


def test_file_is_named_after_the_fault(fault: Fault) -> None:
    assert (faults_dir() / f"{fault.slug}.md").is_file()


def test_a_healthy_pattern_says_so_in_its_name(fault: Fault) -> None:
    assert fault.slug.startswith("healthy-") == (fault.kind == "healthy")


@pytest.mark.parametrize("language", ["en", "zh"])
def test_headings_are_complete(fault: Fault, language: str) -> None:
    body = getattr(fault.body, language)
    assert re.findall(r"^## (.+)$", body, re.MULTILINE) == HEADINGS[language]
    for part in re.split(r"^## .+$", body, flags=re.MULTILINE)[1:]:
        assert len(part.strip()) >= 8


def test_both_languages_are_there(fault: Fault) -> None:
    for text in texts(fault):
        assert text.en.strip()
        assert re.search(r"[\u3400-\u9fff]", text.zh), text
        assert not re.search(r"[\u3400-\u9fff]", text.en), text


def test_places_of_evidence_are_the_same_in_both_languages(fault: Fault) -> None:
    for sign in (*fault.signs, *fault.against):
        if sign.evidence is not None:
            places = [
                set(re.findall(r"\{[^{}]+\}", words))
                for words in (sign.evidence.en, sign.evidence.zh)
            ]
            assert places[0] == places[1]


def test_checks_and_phrases_exist(fault: Fault) -> None:
    for sign in (*fault.signs, *fault.against):
        if sign.check:
            find_check(sign.check)
        for source in sign.symptoms:
            if source.startswith("@"):
                assert source[1:] in phrases()


def test_confused_causes_are_cards(fault: Fault) -> None:
    slugs = {other.slug for other in FAULTS}
    for other in fault.confused_with:
        assert other.slug in slugs - {fault.slug}


def test_fixes_have_their_own_ids(fault: Fault) -> None:
    ids = [fix.id for fix in fault.fixes]
    assert len(set(ids)) == len(ids)
    assert fault.kind == "healthy" or fault.fixes


def test_changes_give_valid_plans_and_keep_the_honesty_contract(fault: Fault) -> None:
    observations = read_text("")
    observations.plan = PLAN
    observations.config = {
        "optim.learning_rate": 0.01,
        "optim.micro_batch": 6,
        "optim.accumulate": 3,
        "launch.processes": 2,
        "launch.checkpointing": False,
    }
    scene = Scene(observations)
    for card in fault.fixes:
        fix = fix_of(card.model_copy(update={"when": ""}), scene, dict.fromkeys(card.needs, "x"))
        assert fix is not None
        assert (fix.safety == "manual") == (not fix.change.entries)
        after = apply(PLAN, fix.change)
        if fix.safety == "safe":
            assert broken_promises(PLAN, after) == []
        assert not re.search(r"\{\w+\(", fix.title.en + fix.title.zh)


@pytest.mark.parametrize("kind", [True, False])
def test_examples_of_both_kinds(fault: Fault, kind: bool) -> None:
    assert any(example.fires is kind for example in fault.examples)


@pytest.mark.parametrize(("fault", "example"), EXAMPLES)
def test_example(fault: Fault, example: Example) -> None:
    verdict, cause = answer(example)
    named = verdict if fault.kind == "healthy" else cause
    assert (named == fault.cause) is example.fires


@pytest.mark.parametrize(("fault", "example"), EXAMPLES)
def test_evidence_renders(fault: Fault, example: Example) -> None:
    result = diagnose(read_text(example.log), symptom=example.symptom, config=example.config)
    shown = [text for finding in result.findings for text in (*finding.evidence, *finding.against)]
    for text in [*shown, *([result.note] if result.note else [])]:
        assert not re.search(r"\{[a-z_0-9]+(?:\([a-z_]+\))?\}", text.en + text.zh), text


def test_cards_come_with_the_installation() -> None:
    assert faults_dir() == bundled("knowledge") / "faults"


def texts(fault: Fault) -> list[Text]:
    """All sentences of a card but its body."""
    found = [fault.title, *(fix.title for fix in fault.fixes)]
    found += [other.probe for other in fault.confused_with]
    signs = (*fault.signs, *fault.against)
    return found + [sign.evidence for sign in signs if sign.evidence is not None]
