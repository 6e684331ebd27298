"""A person talking with the built-in brain alone: real tools in a folder, fakes where a run would start."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tutor_agent.actions.context import Context
from tutor_agent.brain.builtin import decide, language_of
from tutor_agent.brain.history import (
    CallEntry,
    Entry,
    NoticeEntry,
    ResultEntry,
    TutorEntry,
    UserEntry,
)
from tutor_agent.brain.tools import BY_NAME, Desk, Failure, call_tool
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = 8


@dataclass
class Talker:
    """Keeps the history, runs the tools, remembers what was called in the last turn."""

    workspace: Path
    fakes: dict[str, Callable[[dict[str, Any]], Any]] = field(default_factory=dict)
    allow: bool = True
    tools: tuple[str, ...] = tuple(BY_NAME)
    history: list[Entry] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def say(self, words: str) -> str:
        """Say something; return what the tutor answers."""
        return self._turn(UserEntry(words=words))

    def tell(self, happened: str, text: Text, **more: Any) -> str:
        """Let something happen to a run; return what the tutor says about it."""
        return self._turn(NoticeEntry(run="demo-1", happened=happened, text=text, **more))

    @property
    def called(self) -> list[str]:
        """Names of the tools of the last turn."""
        return [name for name, _arguments in self.calls]

    def arguments(self, tool: str) -> dict[str, Any]:
        """Arguments of a tool in the last turn."""
        return next(arguments for name, arguments in self.calls if name == tool)

    def _turn(self, opening: UserEntry | NoticeEntry) -> str:
        self.history.append(opening)
        self.calls = []
        said: list[str] = []
        for _round in range(ROUNDS):
            decision = decide(self.history, self.tools)
            if decision.text:
                said.append(decision.text)
                self.history.append(TutorEntry(words=decision.text))
            if not decision.calls:
                return "\n\n".join(said)
            for call in decision.calls:
                self._use(call.tool, dict(call.arguments))
        raise AssertionError(f"the tutor went on after {ROUNDS} rounds: {self.called}")

    def _use(self, tool: str, arguments: dict[str, Any]) -> None:
        call = f"call-{len(self.history)}"
        self.calls.append((tool, arguments))
        self.history.append(CallEntry(call=call, tool=tool, arguments=arguments))
        self.history.append(self._result(call, tool, arguments))

    def _result(self, call: str, tool: str, arguments: dict[str, Any]) -> ResultEntry:
        if BY_NAME[tool].approval and not self.allow:
            denied = Text(en="You did not allow it.", zh="你没有同意。")
            return ResultEntry(call=call, tool=tool, outcome="denied", summary=denied)
        if tool in self.fakes:
            data = self.fakes[tool](arguments)
            if isinstance(data, Text):
                return ResultEntry(call=call, tool=tool, outcome="failed", summary=data)
            summary = Text.same(f"[{tool}]")
            return ResultEntry(call=call, tool=tool, data=data, summary=summary)
        context = Context(self.workspace, language_of(self.history, "en"))
        typed = "\n".join(e.words for e in self.history if isinstance(e, UserEntry))
        outcome = call_tool(BY_NAME[tool], Desk(context, lambda _text: None, typed), arguments)
        if isinstance(outcome, Failure):
            return ResultEntry(call=call, tool=tool, outcome="failed", summary=outcome.text)
        return ResultEntry(call=call, tool=tool, data=outcome.data, summary=outcome.summary)
