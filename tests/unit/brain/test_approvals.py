"""What writes, spends or stops is asked for; an interrupt leaves nothing half done."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.brain.speaking import calling, conversation_in, saying, talk, text_of
from tutor_agent.actions.context import Context
from tutor_agent.brain import engine as engines
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.history import CallEntry, ResultEntry
from tutor_agent.brain.sessions import open_session
from tutor_agent.brain.talk import Approval, Ended, Used, Verdict
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def stopping(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """A run that can be shown and stopped, at the border of the actions."""
    from tutor_agent.actions import runs
    from tutor_agent.brain.tools import running

    stopped: list[str | None] = []

    def show(_context: Context, name: str | None = None) -> Any:
        return _FakeView(name or "demo-1")

    def stop(_context: Context, name: str | None = None) -> Any:
        stopped.append(name)
        return _FakeView(name or "demo-1", "stopped")

    monkeypatch.setattr(runs, "show_run", show)
    monkeypatch.setattr(runs, "stop_run", stop)
    monkeypatch.setattr(running, "run_data", lambda _desk, view: {"name": view.name})
    monkeypatch.setattr(running, "say_run", lambda view: Text.same(f"{view.name} {view.state}"))
    return stopped


class _FakeView:
    def __init__(self, name: str, state: str = "running") -> None:
        self.name, self.state = name, state


async def test_a_refused_approval_does_nothing_and_is_told(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    asked: list[Approval] = []
    conversation = conversation_in(tmp_path)
    events = await talk(conversation, "stop demo-1", saying(Verdict.no, asked))
    assert stopping == []
    assert asked[0].tool == "stop_run"
    assert asked[0].summary is not None
    assert isinstance(asked[0].preview, _FakeView)
    assert "nothing was done" in text_of(events)
    results = [e for e in conversation.session.entries if isinstance(e, ResultEntry)]
    assert [result.outcome for result in results] == ["denied"]


async def test_an_approval_once_is_asked_again(tmp_path: Path, stopping: list[str | None]) -> None:
    asked: list[Approval] = []
    conversation = conversation_in(tmp_path)
    for _ in range(2):
        await talk(conversation, "stop demo-1", saying(Verdict.once, asked))
    assert stopping == ["demo-1", "demo-1"]
    assert len(asked) == 2


async def test_an_approval_for_always_survives_a_new_start(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    asked: list[Approval] = []
    conversation = conversation_in(tmp_path)
    await talk(conversation, "stop demo-1", saying(Verdict.always, asked))
    opened = open_session(tmp_path, conversation.session.id)
    context = Context(tmp_path)
    again = Conversation(context, opened, engines.Engine(context))
    await talk(again, "stop demo-2", saying(Verdict.no, asked))
    assert stopping == ["demo-1", "demo-2"]
    assert len(asked) == 1


async def test_a_language_model_needs_the_same_approval(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    model = calling("stop_run", '{"run": "demo-1"}')
    refused = await talk(conversation_in(tmp_path, model), "x", saying(Verdict.no))
    assert stopping == []
    assert "did not allow" in text_of(refused)
    allowed = await talk(conversation_in(tmp_path, model), "x", saying(Verdict.once))
    assert stopping == ["demo-1"]
    assert "stopped" in text_of(allowed)


async def test_what_cannot_be_done_is_not_asked_for(tmp_path: Path) -> None:
    asked: list[Approval] = []
    events = await talk(conversation_in(tmp_path), "stop nothing-1", saying(Verdict.once, asked))
    assert asked == []
    assert [e.ok for e in events if isinstance(e, Used)] == [False]


async def test_an_interrupt_keeps_what_was_said_and_the_talk_goes_on(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    conversation = conversation_in(tmp_path)
    waiting = asyncio.Event()

    async def never(_approval: Approval) -> Verdict:
        waiting.set()
        await asyncio.Event().wait()
        return Verdict.once

    turn = asyncio.create_task(talk(conversation, "stop demo-1", never))
    await asyncio.wait_for(waiting.wait(), 20)
    assert conversation.interrupt()
    events = await asyncio.wait_for(turn, 20)
    assert events[-1] == Ended("builtin", interrupted=True)
    assert stopping == []
    assert not conversation.interrupt()
    calls = [e for e in conversation.session.entries if isinstance(e, CallEntry)]
    results = [e for e in conversation.session.entries if isinstance(e, ResultEntry)]
    assert [r.call for r in results] == [c.call for c in calls]
    again = await talk(conversation, "hello")
    assert again[-1] == Ended("builtin")


async def test_a_face_that_goes_away_ends_the_turn(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    assert stopping == []
    conversation = conversation_in(tmp_path)
    waiting = asyncio.Event()

    async def never(_approval: Approval) -> Verdict:
        waiting.set()
        await asyncio.Event().wait()
        return Verdict.once

    turn = asyncio.create_task(talk(conversation, "stop demo-1", never))
    await asyncio.wait_for(waiting.wait(), 20)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert isinstance(conversation.session.entries[-1], ResultEntry)
