"""The condition language is small and safe."""

from __future__ import annotations

import math

import pytest

from tutor_agent.core.errors import UnreadableError
from tutor_agent.diagnose.conditions import evaluate
from tutor_agent.diagnose.series import Series

LOG = {
    "loss": [2.5, 2.0, math.nan, 3.0],
    "eval_loss": [2.0, 1.5, 1.6, 1.7, 1.8],
    "empty": [],
    "rate": Series(values=[0.0, 1e-4, 2e-4], steps=[10, 20, 30], epochs=[math.nan] * 3),
}


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("last(loss)", 3.0),
        ("first(loss)", 2.5),
        ("count(loss)", 4),
        ("low(loss)", 2.0),
        ("high(loss)", 3.0),
        ("mean(eval_loss, 2)", 1.75),
        ("median(eval_loss)", 1.7),
        ("since(eval_loss)", 3),
        ("rising(eval_loss)", 3),
        ("bad(loss)", 1),
        ("step_bad(loss)", 3),
        ("step_low(eval_loss)", 2),
        ("step(rate)", 30),
        ("step_first(rate)", 10),
        ("before_bad(loss)", 2.0),
        ("last(missing, default=0)", 0),
        ("has(empty)", False),
        ("1 < last(eval_loss) < 2", True),
        ("not has(empty) and bad(loss) == 1", True),
        ("last(missing) > 1 or count(loss) > 3", True),
        ("-last(loss) + 2 * 2", 1.0),
        ("log(1)", 0.0),
        ("finite(last(loss))", True),
        ("abs(-2)", 2),
    ],
)
def test_value(expression: str, value: float) -> None:
    assert evaluate(expression, LOG) == pytest.approx(value)


@pytest.mark.parametrize("slope", [0.5, -0.25, 0.0])
def test_slope_is_that_of_a_line(slope: float) -> None:
    assert evaluate("slope(x)", {"x": [3 + slope * i for i in range(8)]}) == pytest.approx(slope)


def test_ratio_compares_the_last_with_the_lowest() -> None:
    assert evaluate("ratio(eval_loss)", LOG) == pytest.approx(1.2)


@pytest.mark.parametrize("comparison", ["<", "<=", ">", ">=", "==", "!="])
def test_what_was_never_logged_proves_nothing(comparison: str) -> None:
    assert evaluate(f"last(missing) {comparison} 1", LOG) is False


def test_division_by_zero_proves_nothing() -> None:
    assert math.isnan(evaluate("1 / count(empty)", LOG))


@pytest.mark.parametrize(
    "expression",
    [
        "loss",
        "9**9**9",
        "loss.values",
        "loss[0]",
        "__import__('os').system('true')",
        "last('loss')",
        "last(1)",
        "last()",
        "unknown(loss)",
        "(lambda: 1)()",
        "[x for x in loss]",
        "last(loss, 1, 2, 3)",
        "last(loss) if 1 else 2",
        "True and missing_function(loss)",
        "1 +",
        "",
        "(" * 500 + "1" + ")" * 500,
        "1" + "+1" * 400,
    ],
)
def test_everything_else_is_refused_and_says_what_is_allowed(expression: str) -> None:
    with pytest.raises(UnreadableError) as error:
        evaluate(expression, LOG)
    assert "last" in error.value.text.en
    assert "函数有" in error.value.text.zh


def test_a_part_that_is_never_reached_is_checked_too() -> None:
    with pytest.raises(UnreadableError):
        evaluate("count(empty) > 0 and loss.x > 1", LOG)
