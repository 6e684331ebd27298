"""The seam between a face and the brain. Importing this imports no LLM library; `load` does."""

from __future__ import annotations

import asyncio
import importlib
import threading
from typing import TYPE_CHECKING, Protocol, cast

from tutor_agent.brain.history import NoticeEntry, UserEntry
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
    from collections.abc import AsyncIterator, Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.sessions import Session

__all__ = [
    "Answering",
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


class Answering(Protocol):
    """What `brain.engine` offers; named here so that nothing of it is imported."""

    @property
    def answers_with(self) -> str:
        """Name of the model that answers first."""
        ...

    async def turn(
        self,
        session: Session,
        entry: UserEntry | NoticeEntry,
        approve: Approve,
        emit: Callable[[TalkEvent], None],
    ) -> None:
        """Answer one message or event."""
        ...


class Conversation:
    """One person talking with the tutor."""

    def __init__(self, context: Context, session: Session, engine: Answering | None = None) -> None:
        self.context = context
        self.session = session
        self._engine = engine
        self._turn: asyncio.Task[None] | None = None
        self._lock = threading.Lock()

    def load(self) -> None:
        """Import the engine (about a second: call it in a worker thread). Loading twice is harmless."""
        self._loaded()

    def _loaded(self) -> Answering:
        with self._lock:
            if self._engine is None:
                module = importlib.import_module("tutor_agent.brain.engine")
                self._engine = cast("Answering", module.Engine(self.context))
            return self._engine

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

    async def _run(
        self, entry: UserEntry | NoticeEntry, approve: Approve
    ) -> AsyncIterator[TalkEvent]:
        engine = self._engine or await asyncio.to_thread(self._loaded)
        queue: asyncio.Queue[TalkEvent | None] = asyncio.Queue()
        turn = asyncio.create_task(engine.turn(self.session, entry, approve, queue.put_nowait))
        turn.add_done_callback(lambda _turn: queue.put_nowait(None))
        self._turn = turn
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            turn.cancel()
            await asyncio.wait({turn})
        if not turn.cancelled():
            turn.result()
