from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.events import Event
from tutor_agent.core.text import Text
from tutor_agent.diagnose.evidence import distinct
from tutor_agent.diagnose.faults import load_faults
from tutor_agent.diagnose.likeness import sayings
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_text
from tutor_agent.diagnose.watch import Watch

if TYPE_CHECKING:
    from pydantic import JsonValue

_LOG = "\n".join(
    f"{{'loss': {loss}, 'grad_norm': {norm}, 'learning_rate': 0.002, 'epoch': {n / 100}}}"
    for n, (loss, norm) in enumerate(
        [
            (2.13, 1.2),
            (1.98, 1.4),
            (1.87, 2.9),
            (2.44, 9.7),
            (4.91, 48.1),
            (8.33, 212.5),
            (0.0, "nan"),
        ],
        1,
    )
)


def _same(*sentences: str) -> list[str]:
    return [text.en for text in distinct(map(Text.same, sentences))]


def test_a_sentence_with_the_figures_of_a_stronger_one_is_left_out() -> None:
    rise = "loss 1.87 → 11.2 between steps 3 and 7, and it stays up"
    again = "loss grew 1.87 → 11.2 between steps 3 and 7, before the numbers broke"
    rate = "learning rate 0.002 is 10x the usual 0.0002 for this method"
    large = "a learning rate of 0.002 is large for a pretrained model"
    assert _same(rise, rate, again, large) == [rise, rate]


def test_steps_alone_make_no_repetition() -> None:
    sentences = ["loss 1.5 at step 8", "grad_norm is NaN at step 8", "the log says OVERFLOW"]
    assert _same(*sentences, sentences[2]) == sentences


def test_other_figures_stay() -> None:
    sentences = ["loss 1.87 → 11.2 from step 3 to 7", "loss 11.2 is above ln(V) = 10.4"]
    assert _same(*sentences) == sentences


def test_a_diagnosis_says_nothing_twice() -> None:
    findings = diagnose(read_text(_LOG)).findings
    assert sum("1.87 → 8.33" in text.en for text in findings[0].evidence) == 1
    for finding in findings:
        assert finding.evidence == distinct(finding.evidence)


def test_the_watch_says_nothing_twice() -> None:
    watch, found = Watch(), []
    for step, loss in enumerate([*(1.5 - 0.01 * (n % 3) for n in range(40)), *[4.0] * 40], 1):
        payload: dict[str, JsonValue] = {"loss": loss, "grad_norm": 1.0, "learning_rate": 2e-3}
        event = Event(run="r", attempt=0, seq=step, t=step, step=step, kind="step", payload=payload)
        found += watch.feed(event)
    assert found
    for finding in found:
        assert finding.evidence == distinct(finding.evidence)


def test_the_first_finding_of_a_run_waits_for_no_other_card() -> None:
    load_faults.cache_clear()
    sayings.cache_clear()
    payload: dict[str, JsonValue] = {"reason": "non_finite_loss"}
    halted = Event(run="r", attempt=0, seq=1, t=1, step=1, kind="halted", payload=payload)
    assert Watch().feed(halted)
    assert load_faults.cache_info().currsize == 0
    assert sayings.cache_info().currsize == 0
