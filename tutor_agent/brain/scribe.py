"""One turn as it happens: words, calls, approvals and results go to the session and to the face at once."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from tutor_agent.brain.history import AllowedEntry, CallEntry, ResultEntry, TutorEntry, denials
from tutor_agent.brain.talk import Approval, Approve, Ended, Said, TalkEvent, Used, Using, Verdict
from tutor_agent.brain.tools import Desk, Failure, Tool, ToolResult, call_tool, preview_tool
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.brain.sessions import Session

_DENIED = Text(en="You did not allow it.", zh="你没有同意。")
_INTERRUPTED = Text(
    en="Interrupted; it may have happened all the same: look at the runs.",
    zh="已中断；操作可能已经生效，请查看运行列表。",
)


class Scribe:
    """Writes one turn down, and runs its tools."""

    def __init__(
        self, session: Session, desk: Desk, approve: Approve, emit: Callable[[TalkEvent], None]
    ) -> None:
        self.session, self.desk, self.emit = session, desk, emit
        self.speaker = ""
        self._approve = approve
        self._words: list[str] = []

    def say(self, words: str) -> None:
        """Pass on a piece of the answer."""
        if words:
            self._words.append(words)
            self.emit(Said(words))

    def flush(self, *, interrupted: bool = False) -> None:
        """Keep what was said so far as one entry."""
        words = "".join(self._words).strip()
        self._words.clear()
        if words:
            entry = TutorEntry(words=words, answered_by=self.speaker, interrupted=interrupted)
            self.session.add(entry)

    def finish(self, *, interrupted: bool) -> None:
        """End the turn: nothing said is lost, no call stays unanswered."""
        self.flush(interrupted=interrupted)
        for denial in denials(list(self.session.entries), _INTERRUPTED):
            self.session.add(denial)
        self.emit(Ended(self.speaker, interrupted=interrupted))

    async def use(self, call: str, tool: Tool, arguments: dict[str, Any]) -> dict[str, Any]:
        """Run a tool in a thread and return what the model sees of its result."""
        self._begin(call, tool, arguments)
        outcome = await asyncio.to_thread(call_tool, tool, self.desk, arguments)
        language = self.desk.context.language
        if isinstance(outcome, Failure):
            self._record(call, tool, ToolResult(None, None, outcome.text), "failed")
            return {"error": outcome.text.pick(language)}
        self._record(call, tool, outcome, "done")
        return {"summary": outcome.summary.pick(language), "data": outcome.data}

    async def refuse(self, call: str, tool: Tool, arguments: dict[str, Any]) -> Text | None:
        """Ask for approval; return why the tool may not run, or None when it may."""
        self._keep_call(call, tool, arguments)
        preview = await asyncio.to_thread(preview_tool, tool, self.desk, arguments)
        if isinstance(preview, Failure):
            self._record(call, tool, ToolResult(None, None, preview.text), "failed")
            return preview.text
        allowed = {e.tool for e in self.session.entries if isinstance(e, AllowedEntry)}
        if tool.name in allowed:
            return None
        view, summary = (preview.view, preview.summary) if preview else (None, None)
        verdict = await self._approve(
            Approval(call, tool.name, tool.title, arguments, view, summary)
        )
        if verdict is Verdict.no:
            self._record(call, tool, ToolResult(None, None, _DENIED), "denied")
            return _DENIED
        if verdict is Verdict.always:
            self.session.add(AllowedEntry(tool=tool.name))
        return None

    def _begin(self, call: str, tool: Tool, arguments: dict[str, Any]) -> None:
        self._keep_call(call, tool, arguments)
        self.emit(Using(call, tool.name, tool.title, arguments))

    def _keep_call(self, call: str, tool: Tool, arguments: dict[str, Any]) -> None:
        kept = {e.call for e in self.session.entries if isinstance(e, CallEntry)}
        if call not in kept:
            self.session.add(CallEntry(call=call, tool=tool.name, arguments=arguments))

    def _record(self, call: str, tool: Tool, result: ToolResult, outcome: Any) -> None:
        entry = ResultEntry(
            call=call, tool=tool.name, outcome=outcome, data=result.data, summary=result.summary
        )
        self.session.add(entry)
        self.emit(Used(call, tool.name, result, ok=entry.ok))
