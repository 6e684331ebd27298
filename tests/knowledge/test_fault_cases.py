"""The doctor on cases: each names its cause, with the right fix; the healthy stay healthy."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.knowledge.case_files import all_cases, right_answers
from tutor_agent.diagnose.faults import load_faults
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_text

if TYPE_CHECKING:
    from tutor_agent.core.findings import Diagnosis

CASES = all_cases()
QUOTED_WORDS, QUOTED_SIGNS = 7, 14


def answer(case: dict[str, Any]) -> Diagnosis:
    return diagnose(read_text(case["log"]), symptom=case["symptom"], config=case["config"])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_the_cause_comes_first(case: dict[str, Any]) -> None:
    result = answer(case)
    first = result.findings[0].cause if result.findings else result.verdict
    assert first in right_answers(case)


@pytest.mark.parametrize("case", [c for c in CASES if "fix" in c], ids=lambda case: case["id"])
def test_the_fix_is_told_and_no_wrong_one(case: dict[str, Any]) -> None:
    fixes = answer(case).findings[0].fixes
    told = "\n".join(f"{f.title.en}\n{f.title.zh}\n{f.change.model_dump_json()}" for f in fixes)
    assert re.search(case["fix"], told, re.IGNORECASE)
    assert not re.search(case.get("wrong") or r"(?!)", told, re.IGNORECASE)


def test_identifiers_are_unique() -> None:
    identifiers = [case["id"] for case in CASES]
    assert len(set(identifiers)) == len(identifiers)


def test_no_card_quotes_a_case() -> None:
    """Rules come from understanding: no complaint of a case stands in a card, not even in part."""
    cards = "\n".join(plain(saying) for card in load_faults() for saying in card.sayings)
    for case in CASES:
        for piece in pieces(plain(case["symptom"])):
            assert piece not in cards, (case["id"], piece)


def plain(words: str) -> str:
    return " ".join(re.findall(r"[a-z0-9_]+|[\u3400-\u9fff]", words.lower()))


def pieces(words: str) -> list[str]:
    """Runs of words that are long enough to be a quotation: seven words, or fourteen signs of Chinese."""
    parts = words.split()
    size = QUOTED_SIGNS if re.search(r"[\u3400-\u9fff]", words) else QUOTED_WORDS
    return [" ".join(parts[i : i + size]) for i in range(len(parts) - size + 1)]
