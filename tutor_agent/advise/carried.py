"""What is taken over from a script: values with their lines."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, cast

from tutor_agent.probe.script_values import Given, Unknown, is_plain

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.text import Text


_LARGEST = 1e9


@dataclass(frozen=True)
class Kept:
    """A value of the script for one field of the plan."""

    path: str
    value: JsonValue
    line: int | None = None
    """Where the script says it; None for the library's default."""
    default_of: str = ""
    note: Text | None = None
    """How the value was translated, when it is not the same number."""


@dataclass
class Carried:
    """Everything that is carried over, and what could not be."""

    fields: dict[str, Kept] = field(default_factory=dict[str, Kept])
    unknown: dict[str, Unknown] = field(default_factory=dict[str, Unknown])
    """Arguments whose value only running the script would tell."""
    left: dict[str, Given] = field(default_factory=dict[str, Given])
    """Arguments without a place in a plan."""

    def keep(self, path: str, value: object, given: Given | None, note: Text | None = None) -> None:
        """Keep one value."""
        line = given.line if given else None
        self.fields[path] = Kept(path, cast("JsonValue", value), line, note=note)

    def move(self, path: str, value: str) -> None:
        """Give a kept file another name."""
        self.fields[path] = replace(self.fields[path], value=value)

    def plain(self, name: str, given: Given | None) -> object | None:
        """Return a readable value; note an unreadable one."""
        if given is None or given.value is None:
            return None
        if is_plain(given.value) and is_sane(given.value):
            return as_json(given.value)
        value = given.value
        self.unknown[name] = value if isinstance(value, Unknown) else Unknown(name, given.line)
        return None


def is_sane(value: object) -> bool:
    """Return whether a value has a place in a plan: numbers finite and within reason, keys words."""
    if isinstance(value, float | int):
        return abs(value) <= _LARGEST
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return all(isinstance(key, str) and is_sane(each) for key, each in table.items())
    if isinstance(value, list | tuple | set):
        return all(map(is_sane, cast("list[object]", value)))
    return value is None or isinstance(value, str)


def as_json(value: object) -> object:
    """Return a plain value with lists for tuples."""
    if isinstance(value, list | tuple | set):
        return [as_json(each) for each in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: as_json(each) for key, each in cast("dict[str, object]", value).items()}
    return value
