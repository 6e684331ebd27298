"""What a tool is, and the one place where a tool is called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.errors import NotPossibleError, TutorError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pydantic import BaseModel

    from tutor_agent.actions.context import Context
    from tutor_agent.core.contract import Contract
    from tutor_agent.core.text import Language

_PATH_FIELDS = frozenset({"data.train", "data.validation", "data.test", "model.source"})


@dataclass(frozen=True)
class ToolResult:
    """What a tool gives: `data` for the model, `view` for the face, `summary` for everybody."""

    data: Any
    view: object
    summary: Text


@dataclass(frozen=True)
class Desk:
    """What a tool works with: the workspace, what the person typed, and a way to say how far it is."""

    context: Context
    report: Callable[[Text], None]
    typed: str = ""
    """Everything the person typed: a path outside the workspace must occur in it."""
    share_rows: bool = False
    """Whether rows of the person's data may be part of `data`."""


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


@dataclass(frozen=True)
class Failure:
    """A tool could not do what it was asked; `text` says why."""

    text: Text


def call_tool(tool: Tool, desk: Desk, arguments: dict[str, Any]) -> ToolResult | Failure:
    """Call a tool. What the tutor can explain comes back as a failure, never as a crash."""
    return _guarded(tool, tool.run, desk, arguments)


def preview_tool(tool: Tool, desk: Desk, arguments: dict[str, Any]) -> ToolResult | Failure | None:
    """Say what a tool would do, without doing it; None when there is nothing to show."""
    return _guarded(tool, tool.preview, desk, arguments) if tool.preview else None


def plain(value: BaseModel, language: Language, drop: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return a contract as JSON for a model: sentences in one language, short floats."""
    data = value.model_dump(mode="json", exclude=set(drop))
    return cast("dict[str, Any]", _plain(data, language))


def _guarded(
    tool: Tool,
    work: Callable[[Desk, Any], ToolResult],
    desk: Desk,
    arguments: dict[str, Any],
) -> ToolResult | Failure:
    try:
        parsed = tool.parameters.parse(arguments, tool.name)
        for path in _named_paths(tool, arguments):
            check_path(desk, path)
        return work(desk, parsed)
    except TutorError as error:
        return Failure(error.text)
    except Exception as error:  # noqa: BLE001 - the border of a tool call: a defect must not end the talk
        words = f"{type(error).__name__}: {error}"
        return Failure(
            Text(
                en=f"{tool.name} met an error it does not know: {words}",
                zh=f"{tool.name} 遇到了未知错误：{words}",
            )
        )


def check_path(desk: Desk, path: str) -> None:
    """Refuse a path outside the workspace that the person did not type.

    Raises:
        NotPossibleError: The path leads outside and was not typed by the person.
    """
    workspace = desk.context.workspace.resolve()
    place = (workspace / Path(path).expanduser()).resolve()
    if place.is_relative_to(workspace) or _was_typed(path, desk.typed):
        return
    raise NotPossibleError(
        f"{path!r} is outside the workspace {str(workspace)!r}. Only the person may name such a path: "
        "ask them to type it.",
        f"{path!r} 在工作区 {str(workspace)!r} 之外。这样的路径只能由用户本人输入，请让用户写出该路径。",
    )


def _was_typed(path: str, typed: str) -> bool:
    """Return whether the path stands in the person's words as a whole, not as a part of a longer one."""
    whole = rf"(?<![A-Za-z0-9_./~-]){re.escape(path)}(?![A-Za-z0-9_/-]|\.[A-Za-z0-9_])"
    return re.search(whole, typed) is not None


def _named_paths(tool: Tool, arguments: dict[str, Any]) -> Iterator[str]:
    for name in tool.paths:
        value = arguments.get(name)
        if isinstance(value, str) and value:
            yield value
    entries = arguments.get("change")
    if isinstance(entries, list):
        for entry in cast("list[dict[str, Any]]", entries):
            if entry.get("path") in _PATH_FIELDS and isinstance(entry.get("value"), str):
                yield entry["value"]


def _plain(value: Any, language: Language) -> Any:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value)
        if set(pairs) == {"en", "zh"}:
            return pairs[language]
        return {key: _plain(item, language) for key, item in pairs.items()}
    if isinstance(value, list):
        return [_plain(item, language) for item in cast("list[Any]", value)]
    if isinstance(value, float):
        return float(f"{value:.6g}")
    return value
