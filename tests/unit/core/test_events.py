"""Event lines: written in one piece, read without trust."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import pytest

from tutor_agent.core.events import MAX_BYTES, Event, append_event, parse_event

if TYPE_CHECKING:
    from pathlib import Path


def event(**payload: Any) -> Event:
    return Event(run="demo-1", attempt=0, seq=3, t=12.5, step=7, kind="step", payload=payload)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    written = [event(loss=1.5), event(loss=1.25, grad_norm=0.5)]
    for item in written:
        append_event(path, item, sync=True)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [parse_event(line) for line in lines] == written


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks(value: float) -> None:
    line = event(loss=value, nested={"x": [value]}).line()
    assert "NaN" not in line
    assert "Infinity" not in line
    read = parse_event(line)
    assert read is not None
    number = read.number("loss")
    assert number == value or (number is not None and math.isnan(number) and math.isnan(value))


def test_number_is_none_for_other_values() -> None:
    item = event(text="high", flag=True)
    assert [item.number(key) for key in ("text", "flag", "absent")] == [None, None, None]


@pytest.mark.parametrize(
    "payload",
    [
        {"text_en": "长" * 5000, "loss": 1.0},
        {"modules": ["layer"] * 3000},
        {"versions": {f"package-{i}": "1.0" for i in range(800)}},
        {f"key-{i}": i for i in range(900)},
    ],
)
def test_a_line_never_exceeds_its_limit(payload: dict[str, Any]) -> None:
    line = event(**payload).line()
    assert len(line.encode()) < MAX_BYTES
    assert json.loads(line)["step"] == 7


@pytest.mark.parametrize(
    "line", ["", "{", "[]", '{"step": 1}', event(loss=1).line()[:-5], "loss 1.2"]
)
def test_foreign_and_cut_lines_are_nothing(line: str) -> None:
    assert parse_event(line) is None
