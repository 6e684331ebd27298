"""What a tool is, and the one place where a tool is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives: `data` for the model, `view` for the face, `summary` for everybody."""

    data: JsonValue
    view: object
    summary: Text


@dataclass(frozen=True)
class Desk:
    """What a tool works with: the workspace, and a way to say how far it is."""

    context: Context
    report: Callable[[Text], None]
    typed: str = ""
    """Everything the person typed: a path outside the workspace must occur in it."""


@dataclass(frozen=True)
class Tool:
    """One action as a tool. `description` is for the model, `title` for the person."""

    name: str
    title: Text
    description: str
    parameters: type[Contract]
    run: Callable[[Desk, Any], ToolResult]
    approval: bool = False
    paths: tuple[str, ...] = ()
    """Arguments that name files or folders."""
    preview: Callable[[Desk, Any], ToolResult] | None = None
    """What an approval shows."""
