from __future__ import annotations

from typing import TYPE_CHECKING

from tests.tui.scenes import ADVICE
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.tui.widgets.plan_card import plan_rows
from tutor_agent.tui.wording import Words

if TYPE_CHECKING:
    from tutor_agent.core.text import Language


def _time(language: Language, max_steps: int | None, steps: int) -> str:
    advice = ADVICE.model_copy(
        update={
            "plan": apply(ADVICE.plan, PlanChange.set(optim__max_steps=max_steps)),
            "forecast": ADVICE.forecast.model_copy(update={"steps": steps}),
        }
    )
    words = Words(language)
    return next(v.plain for label, v in plan_rows(advice, words, 60) if label == words("plan.time"))


def test_steps_that_end_before_the_epochs_are_said_to() -> None:
    assert "24 steps, fewer than 3 epochs" in _time("en", 24, 24)
    assert "24 步，不足 3 轮" in _time("zh", 24, 24)


def test_epochs_are_named_where_they_decide() -> None:
    for limit in (None, 5000):
        assert "3 epochs 1,170 steps" in _time("en", limit, 1170)
        assert "fewer" not in _time("en", limit, 1170)
