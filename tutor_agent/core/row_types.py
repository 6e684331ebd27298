"""A row of a data file, and a row that cannot be read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from tutor_agent.core.text import Text

Container = Literal["csv", "jsonl", "json", "parquet"]

MAX_ROW_CHARACTERS = 16 * 2**20
"""Longest row that is held in memory; what is longer is a broken row."""


@dataclass(frozen=True, slots=True)
class Row:
    """One readable row."""

    line: int
    """1-based line on which the row begins (the row's number in Parquet)."""
    values: dict[str, Any]
    """Values by column."""


@dataclass(frozen=True, slots=True)
class BrokenRow:
    """A row that cannot be read, and why."""

    line: int
    """1-based line on which the row begins."""
    text: Text
    """What is wrong, and what to do."""
