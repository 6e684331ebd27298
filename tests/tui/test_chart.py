from __future__ import annotations

import math
import random

import pytest

from tutor_agent.core.events import Event
from tutor_agent.runs.curves import Curves
from tutor_agent.tui.raster import LABELS, draw, nice_scale, step_labels
from tutor_agent.tui.series import Series


def step(number: int, loss: float, attempt: int = 0) -> Event:
    return Event(
        run="r",
        attempt=attempt,
        seq=number,
        t=0.0,
        step=number,
        kind="step",
        payload={"loss": "nan" if math.isnan(loss) else loss},
    )


def rows_of(series: Series, width: int = 60, height: int = 12) -> list[str]:
    return ["".join(words for words, _ in row) for row in draw(series, width, height)]


def test_nothing_yet_draws_an_empty_frame() -> None:
    rows = rows_of(Series())
    assert len(rows) == 12
    assert all(len(row) == 60 for row in rows)


def test_single_point_is_drawn() -> None:
    series = Series()
    series.add([(1, 2.0)])
    assert any("⠀" < c <= "⣿" for row in rows_of(series) for c in row)


@pytest.mark.parametrize("width", [16, 40, 80, 133])
@pytest.mark.parametrize("count", [2, 37, 1000])
def test_every_row_has_the_width(width: int, count: int) -> None:
    series = Series()
    series.add((n, 3.0 - 2.0 * n / count) for n in range(1, count + 1))
    series.evaluations = [(count // 2, 2.2)]
    assert {len(row) for row in rows_of(series, width)} == {width}


def test_falling_curve_falls() -> None:
    series = Series()
    series.add((n, 3.0 - n / 100) for n in range(1, 201))
    rows = rows_of(series, 60, 12)[:10]
    first = next(y for y, row in enumerate(rows) if row[LABELS] > "⠀")
    last = next(y for y, row in enumerate(rows) if row[LABELS + 44] > "⠀")
    assert first < last


def test_nan_is_marked_and_leaves_the_curve_finite() -> None:
    curves = Curves()
    for n in range(1, 50):
        curves.add(step(n, 2.0))
    curves.add(step(50, math.nan))
    series = Series()
    series.follow(curves, 100)
    rows = rows_of(series)
    assert series.bounds() == (2.0, 2.0)
    assert "✖" in rows[0]
    assert "┊" in rows[5]
    assert rows[0].index("✖") == LABELS + series.column(50) // 2


def test_resume_cuts_the_curve() -> None:
    curves, series = Curves(), Series()
    for n in range(1, 101):
        curves.add(step(n, 5.0))
    series.follow(curves, 200)
    series.fit(100)
    curves.add(step(61, 1.0, attempt=1))
    series.follow(curves, 200)
    assert series.points[-2:] == [(60, 5.0), (61, 1.0)]
    curves.add(step(62, 1.0, attempt=1))
    series.follow(curves, 200)
    assert len(series.points) == 62
    assert "↻" in rows_of(series)[0]
    assert max(series.columns) == series.column(62)


def test_followed_point_by_point_is_the_same_as_all_at_once() -> None:
    noise = random.Random(3)
    curves, grown, whole = Curves(), Series(), Series()
    for n in range(1, 700):
        curves.add(step(n, 1 + math.exp(-n / 90) + noise.gauss(0, 0.1)))
        grown.follow(curves, 1000)
        if n % 50 == 0:
            draw(grown, 60, 12)
    whole.follow(curves, 1000)
    assert rows_of(grown) == rows_of(whole)


def test_fifty_thousand_points_cost_no_more_than_the_width() -> None:
    series = Series()
    series.total = 50_000
    draw(series, 80, 20)
    for n in range(1, 50_001):
        series.add([(n, 2.0 + (n % 7) / 10)])
        if n % 1000 == 0:
            draw(series, 80, 20)
    assert len(series.columns) <= (80 - LABELS) * 2
    # The axis grows by a quarter at a time, so few rebuilds touch all points.
    assert series.rebuilt < 60
    before = series.rebuilt
    for n in range(50_001, 50_011):
        series.total = 60_000
        series.add([(n, 2.0)])
        draw(series, 80, 20)
    assert series.rebuilt <= before + 1


def test_frame_reads_columns_only(monkeypatch: pytest.MonkeyPatch) -> None:
    series = Series()
    series.add((n, 2.0) for n in range(1, 50_001))
    draw(series, 80, 20)
    monkeypatch.setattr(series, "points", series.points[-1:])
    assert {len(row) for row in rows_of(series, 80, 20)} == {80}


def test_single_spike_does_not_flatten_the_curve() -> None:
    series = Series()
    series.add((n, 1.0 + (n % 5) / 10) for n in range(1, 400))
    series.add([(400, 900.0)])
    series.add((n, 1.0 + (n % 5) / 10) for n in range(401, 800))
    series.fit(120)
    bounds = series.bounds()
    assert bounds is not None
    assert bounds[1] < 100


def test_scales_are_round_and_never_empty() -> None:
    scale = nice_scale((1.0, 1.0), 40)
    assert scale.low < 1.0 < scale.high
    scale = nice_scale((0.93, 2.71), 40)
    assert scale.low <= 0.93
    assert scale.high >= 2.71


def test_step_labels_are_under_their_columns() -> None:
    labels = step_labels(1170, 60)
    assert len(labels) == 60
    assert labels.startswith("0")
    at = labels.index("400")
    assert at == 400 * 60 // 1171
