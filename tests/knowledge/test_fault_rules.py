"""Every card and every rule earns its place: without it, some case or example is answered differently."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.knowledge.case_files import all_cases
from tutor_agent.diagnose.faults import load_faults
from tutor_agent.diagnose.rank import complete, ordered, weigh, winners
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.signs import Scene

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tutor_agent.diagnose.faults import Fault
    from tutor_agent.diagnose.rank import Candidate

Rule = tuple[str, str, int]
Answer = tuple[tuple[str, float, int, int], ...]
FAULTS = load_faults()
SIDES = ("signs", "against")


def told() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield log, complaint and settings of every case and of every example of a card."""
    for case in all_cases():
        yield case["log"], case["symptom"], case["config"]
    for fault in FAULTS:
        for example in fault.examples:
            yield example.log, example.symptom, example.config


def answered(weighed: Iterable[Candidate | None], scene: Scene) -> Answer:
    """What a person is told: the named causes, their confidence, and how much evidence is shown."""
    named = winners(ordered([one for one in weighed if one is not None]), scene.seen)
    return tuple(
        (one.fault.slug, round(one.confidence, 3), len(one.held), len(one.against)) for one in named
    )


def without(fault: Fault, side: str, number: int) -> Fault:
    rules = getattr(fault, side)
    return fault.model_copy(update={side: rules[:number] + rules[number + 1 :]})


def holding(fault: Fault, scene: Scene) -> Iterator[tuple[str, int]]:
    for side in SIDES:
        for number, sign in enumerate(getattr(fault, side)):
            if scene.look(sign) is not None:
                yield side, number


@pytest.fixture(scope="module")
def differences() -> tuple[Counter[Rule], Counter[str]]:
    """How many answers differ without each rule, and without each card."""
    rules: Counter[Rule] = Counter()
    cards: Counter[str] = Counter()
    for log, symptom, config in told():
        scene = Scene(complete(read_text(log), symptom, config))
        weighed = {fault.slug: weigh(fault, scene) for fault in FAULTS}
        usual = answered(weighed.values(), scene)
        cards.update(slug for slug, *_ in usual)
        for fault in FAULTS:
            if weighed[fault.slug] is None:
                continue
            for side, number in holding(fault, scene):
                changed = weigh(without(fault, side, number), scene)
                now = answered({**weighed, fault.slug: changed}.values(), scene)
                rules[fault.slug, side, number] += now != usual
    return rules, cards


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.slug)
def test_no_rule_is_dead(fault: Fault, differences: tuple[Counter[Rule], Counter[str]]) -> None:
    rules, cards = differences
    dead = [
        f"{side} {number}: {rule.model_dump(exclude_defaults=True)}"
        for side in SIDES
        for number, rule in enumerate(getattr(fault, side))
        if not rules[fault.slug, side, number]
    ]
    assert not dead
    assert cards[fault.slug]
