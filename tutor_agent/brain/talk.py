"""What a face hears while the tutor works, and what it is asked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.brain.tools.kit import ToolResult
    from tutor_agent.core.text import Text


@dataclass(frozen=True)
class Said:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True)
class Using:
    """A tool begins."""

    call: str
    tool: str
    title: Text
    arguments: dict[str, JsonValue]


@dataclass(frozen=True)
class Progress:
    """A tool that takes long says how far it is."""

    tool: str
    text: Text


@dataclass(frozen=True)
class Used:
    """A tool ended. `result.view` is what the face may draw; `ok` is False when it failed or was denied."""

    call: str
    tool: str
    result: ToolResult
    ok: bool


@dataclass(frozen=True)
class Trouble:
    """Something about the conversation itself went wrong: the LLM failed, a limit was reached."""

    text: Text


@dataclass(frozen=True)
class Ended:
    """The turn is over."""

    answered_by: str
    interrupted: bool = False


TalkEvent = Said | Using | Progress | Used | Trouble | Ended


@dataclass(frozen=True)
class Approval:
    """The tutor wants to do something that writes, spends or stops."""

    call: str
    tool: str
    title: Text
    arguments: dict[str, JsonValue]
    preview: object = None
    """Advice, FixProposal, RunView …: what would happen, for the face to draw."""
    summary: Text | None = field(default=None)
    """The same in a sentence."""


class Verdict(StrEnum):
    """The person's answer to an approval."""

    once = "once"
    always = "always"
    no = "no"


Approve = Callable[[Approval], Awaitable[Verdict]]
