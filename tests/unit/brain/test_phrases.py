"""Many ways to say the same, in both languages."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from tutor_agent.brain.builtin import examples
from tutor_agent.brain.builtin.intents import Intent
from tutor_agent.brain.builtin.reading import Known, read_message

KNOWN = {
    "new": Known(),
    "tuning": Known(tuning=True),
    "plan": Known(has_plan=True, tuning=True),
    "run": Known(has_plan=True, has_run=True, tuning=True),
}
_FILE = Path(__file__).with_name("phrases.toml")
_GROUPS = tomllib.loads(_FILE.read_text(encoding="utf-8"))["phrase"]
_TAUGHT = tomllib.loads(
    Path(examples.__file__).with_name("examples.toml").read_text(encoding="utf-8")
)
SAME_DEED = {
    Intent.tune: {Intent.tell},
    Intent.result: {Intent.tune},
    Intent.status: {Intent.result},
}


@pytest.mark.parametrize(
    ("known", "intents", "words"),
    [(g["known"], g["intents"], words) for g in _GROUPS for words in g["words"]],
)
def test_paraphrases(known: str, intents: list[str], words: str) -> None:
    assert read_message(words, KNOWN[known]).intent in intents


@pytest.mark.parametrize("intent", list(_TAUGHT))
def test_taught_phrases_are_understood(intent: str) -> None:
    assert set(_TAUGHT[intent]) == {"en", "zh"}
    phrases = [*_TAUGHT[intent]["en"], *_TAUGHT[intent]["zh"]]
    right = {Intent(intent), *SAME_DEED.get(Intent(intent), set())}
    missed = [p for p in phrases if read_message(p, KNOWN["run"]).intent not in right]
    assert len(missed) <= len(phrases) // 10, missed
