"""What a move sees, and what it decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tutor_agent.brain.builtin.state import State, Turn, as_map
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.brain.builtin.reading import Reading
    from tutor_agent.brain.history import ResultEntry
    from tutor_agent.core.text import Language


@dataclass(frozen=True)
class Call:
    """A tool the tutor asks for."""

    tool: str
    arguments: dict[str, JsonValue]


@dataclass(frozen=True)
class Decision:
    """What the tutor does next: words, tool calls, or both. Without calls the turn is over."""

    text: str = ""
    calls: tuple[Call, ...] = ()


@dataclass(frozen=True)
class Scene:
    """The state, the current turn, and the tools at hand."""

    state: State
    turn: Turn
    tools: frozenset[str]
    once: bool = False
    """A single question: there is no next message to point to."""

    @property
    def language(self) -> Language:
        """The language of the person's last message."""
        return self.state.language

    @property
    def reading(self) -> Reading:
        """The person's message, understood."""
        return self.turn.reading

    def result(self, tool: str) -> ResultEntry | None:
        """Return the latest result of a tool in this turn."""
        return next((r for r in reversed(self.turn.results) if r.tool == tool), None)

    def data(self, tool: str) -> dict[str, Any]:
        """Return what a tool gave in this turn; empty when it did not run or failed."""
        found = self.result(tool)
        return as_map(found.data) if found and found.ok else {}

    def say(self, *texts: Text | str | None) -> str:
        """Join sentences into paragraphs, in the person's language."""
        words = [t.pick(self.language) if isinstance(t, Text) else t for t in texts if t]
        return "\n\n".join(word for word in words if word)

    def summary(self, tool: str) -> Text | None:
        """Return the one-sentence summary of a tool's result in this turn."""
        found = self.result(tool)
        return found.summary if found else None

    def use(self, tool: str, text: Text | str | None = None, **arguments: Any) -> Decision:
        """Ask for a tool; leave arguments out that are None."""
        if tool not in self.tools:
            return Decision(self.say(_NO_TOOL.format(tool=tool)))
        given = {key: value for key, value in arguments.items() if value is not None}
        return Decision(self.say(text), (Call(tool, given),))

    def end(self, *texts: Text | str | None) -> Decision:
        """End the turn with these paragraphs."""
        return Decision(self.say(*texts))


def bullets(lines: list[str]) -> str:
    """Return lines as a Markdown list."""
    return "\n".join(f"- {line}" for line in lines)


def numbered(lines: list[str]) -> str:
    """Return lines as a numbered list."""
    return "\n".join(f"{number}. {line}" for number, line in enumerate(lines, 1))


_NO_TOOL = Text(
    en="I cannot do that here: the tool {tool!r} is not available in this session.",
    zh="这里无法执行：当前会话没有提供工具 {tool!r}。",
)
