"""The seam between a face and the brain. Importing this imports no LLM library; `load` does."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from tutor_agent.brain.history import Entry, NoticeEntry, UserEntry
from tutor_agent.brain.talk import (
    Approval,
    Approve,
    Ended,
    Progress,
    Said,
    TalkEvent,
    Trouble,
    Used,
    Using,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.sessions import Session

__all__ = [
    "Approval",
    "Approve",
    "Conversation",
    "Ended",
    "NoticeEntry",
    "Progress",
    "Said",
    "TalkEvent",
    "Trouble",
    "Used",
    "Using",
    "Verdict",
]


class Conversation:
    """One person talking with the tutor."""

    def __init__(self, context: Context, session: Session) -> None:
        self.context = context
        self.session = session
        self._engine: Any = None
        self._turn: asyncio.Task[None] | None = None

    def load(self) -> None:
        """Import the engine (about a second: call it in a worker thread). Loading twice is harmless."""
        if self._engine is None:
            module = importlib.import_module("tutor_agent.brain.engine")
            self._engine = module.Engine(self.context)

    @property
    def answers_with(self) -> str:
        """Name of the model that will answer; `builtin` without an LLM or before loading."""
        return self._engine.answers_with if self._engine else "builtin"

    def send(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        """Answer the person. The iterator ends with `Ended`, also after an interrupt."""
        return self._run(UserEntry(words=words), approve)

    def notify(self, notice: NoticeEntry, approve: Approve) -> AsyncIterator[TalkEvent]:
        """Tell the tutor what happened to a run, so that it speaks up by itself."""
        return self._run(notice, approve)

    def interrupt(self) -> bool:
        """Cut the current turn short; what was said stays in the session. False when nothing runs."""
        if self._turn is None or self._turn.done():
            return False
        return self._turn.cancel()

    async def _run(self, entry: Entry, approve: Approve) -> AsyncIterator[TalkEvent]:
        if self._engine is None:
            await asyncio.to_thread(self.load)
        queue: asyncio.Queue[TalkEvent] = asyncio.Queue()
        turn = asyncio.create_task(
            self._engine.turn(self.session, entry, approve, queue.put_nowait)
        )
        self._turn = turn
        try:
            while True:
                event = await queue.get()
                yield event
                if isinstance(event, Ended):
                    break
            await turn
        finally:
            turn.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await turn
