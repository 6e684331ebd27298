"""Changes of a plan as people read them: `学习率 2e-4 → 1e-4`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.changes import flatten
from tutor_agent.tui import figures
from tutor_agent.tui.paint import line

if TYPE_CHECKING:
    from pydantic import JsonValue
    from textual.content import Content

    from tutor_agent.core.plan import Plan
    from tutor_agent.tui.wording import Words


def field_name(path: str, words: Words) -> str:
    """Return what people call a plan field; its last name when there is no word for it."""
    leaf = path.rpartition(".")[2]
    return words.name(f"field.{leaf}", leaf)


def value_words(value: JsonValue) -> str:
    """Return a plan value as it would be said."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, float):
        return figures.tiny(value) if 0 < abs(value) < 1e-2 else f"{value:g}"
    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    return "–" if value is None else str(value)


def changed_fields(before: Plan, after: Plan) -> list[tuple[str, JsonValue, JsonValue]]:
    """Return path, old and new value of every field that differs."""
    old, new = flatten(before), flatten(after)
    paths = [*old, *(path for path in new if path not in old)]
    return [(p, old.get(p), new.get(p)) for p in paths if old.get(p) != new.get(p)]


def change_words(before: Plan, after: Plan, words: Words) -> list[Content]:
    """Return one `field old → new` a changed field."""
    return [
        line(
            (f"{field_name(path, words)} ", "$detail"),
            (value_words(old), "$detail"),
            (" → ", "$label"),
            (value_words(new), "bold $value"),
        )
        for path, old, new in changed_fields(before, after)
    ]
