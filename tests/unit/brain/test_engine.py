"""The agent loop: streaming, approvals, interrupts, a language model that fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from pydantic_ai.exceptions import ModelAPIError, UserError
from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from tutor_agent.actions.context import Context
from tutor_agent.brain import engine as engines
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.history import CallEntry, NoticeEntry, ResultEntry, TutorEntry, UserEntry
from tutor_agent.brain.sessions import new_session, open_session
from tutor_agent.brain.talk import Approval, Ended, Said, TalkEvent, Trouble, Used, Verdict
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tutor_agent.brain.talk import Approve


async def _deny(_approval: Approval) -> Verdict:
    return Verdict.no


def _saying(verdict: Verdict, asked: list[Approval] | None = None) -> Approve:
    async def approve(approval: Approval) -> Verdict:
        if asked is not None:
            asked.append(approval)
        return verdict

    return approve


async def _talk(
    conversation: Conversation, words: str, approve: Approve = _deny
) -> list[TalkEvent]:
    return [event async for event in conversation.send(words, approve)]


def _text(events: list[TalkEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Said))


def _conversation(tmp_path: Path, llm: FunctionModel | None = None) -> Conversation:
    context = Context(tmp_path)
    return Conversation(context, new_session(tmp_path), engines.Engine(context, llm))


def _calling(tool: str, arguments: str, times: int = 1) -> FunctionModel:
    """A language model that calls a tool, then says what it was told."""

    async def stream(
        messages: list[ModelMessage], _info: AgentInfo
    ) -> AsyncIterator[str | dict[int, DeltaToolCall]]:
        returned = _returned(messages)
        if len(returned) < times:
            yield {
                0: DeltaToolCall(name=tool, json_args=arguments, tool_call_id=f"c{len(returned)}")
            }
        else:
            yield f"The tool said: {returned[-1]}"

    return FunctionModel(stream_function=stream, model_name="scripted")


def _returned(messages: list[ModelMessage]) -> list[Any]:
    latest = max(
        (n for n, m in enumerate(messages) if isinstance(m, ModelRequest) and _is_prompt(m)),
        default=0,
    )
    return [
        part.content
        for message in messages[latest:]
        if isinstance(message, ModelRequest)
        for part in message.parts
        if isinstance(part, ToolReturnPart)
    ]


def _is_prompt(message: ModelRequest) -> bool:
    return any(part.part_kind == "user-prompt" for part in message.parts)


def _failing(error: Exception, after: str = "") -> FunctionModel:
    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        if after:
            yield after
        raise error

    return FunctionModel(stream_function=stream, model_name="scripted")


async def test_the_builtin_brain_streams_and_is_written_down(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path)
    events = await _talk(conversation, "你能做什么")
    assert len([e for e in events if isinstance(e, Said)]) > 1
    assert events[-1] == Ended("builtin")
    kept = open_session(tmp_path, conversation.session.id).entries
    assert kept[0] == UserEntry(words="你能做什么")
    assert isinstance(kept[1], TutorEntry)
    assert kept[1].words == _text(events).strip()


async def test_a_tool_of_the_builtin_brain_shows_its_result(tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    events = await _talk(_conversation(tmp_path), "有哪些数据文件")
    (used,) = [event for event in events if isinstance(event, Used)]
    assert used.ok
    assert used.result.data == {"files": ["faq.csv"]}
    assert "faq.csv" in _text(events)


async def test_a_language_model_uses_the_same_tools(tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    conversation = _conversation(tmp_path, _calling("list_files", "{}"))
    events = await _talk(conversation, "what is here?")
    assert "faq.csv" in _text(events)
    assert events[-1] == Ended("scripted")


async def test_wrong_arguments_come_back_to_the_model_as_words(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path, _calling("inspect_data", '{"file": "x.csv"}'))
    events = await _talk(conversation, "look")
    (used,) = [event for event in events if isinstance(event, Used)]
    assert not used.ok
    assert "file" in _text(events)
    assert "path" in used.result.summary.en


async def test_a_path_outside_must_have_been_typed_by_the_person(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "work", tmp_path / "secret.csv"
    workspace.mkdir()
    outside.write_text("question,answer\na,b\n", encoding="utf-8")
    model = _calling("inspect_data", f'{{"path": "{outside}"}}')
    context = Context(workspace)
    conversation = Conversation(context, new_session(workspace), engines.Engine(context, model))
    refused = await _talk(conversation, "look around")
    assert [e.ok for e in refused if isinstance(e, Used)] == [False]
    assert "outside" in _text(refused)
    allowed = await _talk(conversation, f"please look at {outside}.")
    assert [e.ok for e in allowed if isinstance(e, Used)] == [True]


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
    conversation = _conversation(tmp_path)
    events = await _talk(conversation, "stop demo-1", _saying(Verdict.no, asked))
    assert stopping == []
    assert asked[0].tool == "stop_run"
    assert asked[0].summary is not None
    assert isinstance(asked[0].preview, _FakeView)
    assert "nothing was done" in _text(events)
    results = [e for e in conversation.session.entries if isinstance(e, ResultEntry)]
    assert [result.outcome for result in results] == ["denied"]


async def test_an_approval_once_is_asked_again(tmp_path: Path, stopping: list[str | None]) -> None:
    asked: list[Approval] = []
    conversation = _conversation(tmp_path)
    for _ in range(2):
        await _talk(conversation, "stop demo-1", _saying(Verdict.once, asked))
    assert stopping == ["demo-1", "demo-1"]
    assert len(asked) == 2


async def test_an_approval_for_always_survives_a_new_start(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    asked: list[Approval] = []
    conversation = _conversation(tmp_path)
    await _talk(conversation, "stop demo-1", _saying(Verdict.always, asked))
    opened = open_session(tmp_path, conversation.session.id)
    context = Context(tmp_path)
    again = Conversation(context, opened, engines.Engine(context))
    await _talk(again, "stop demo-2", _saying(Verdict.no, asked))
    assert stopping == ["demo-1", "demo-2"]
    assert len(asked) == 1


async def test_a_language_model_needs_the_same_approval(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    model = _calling("stop_run", '{"run": "demo-1"}')
    refused = await _talk(_conversation(tmp_path, model), "x", _saying(Verdict.no))
    assert stopping == []
    assert "did not allow" in _text(refused)
    allowed = await _talk(_conversation(tmp_path, model), "x", _saying(Verdict.once))
    assert stopping == ["demo-1"]
    assert "stopped" in _text(allowed)


async def test_what_cannot_be_done_is_not_asked_for(tmp_path: Path) -> None:
    asked: list[Approval] = []
    events = await _talk(_conversation(tmp_path), "stop nothing-1", _saying(Verdict.once, asked))
    assert asked == []
    assert [e.ok for e in events if isinstance(e, Used)] == [False]


async def test_an_interrupt_keeps_what_was_said_and_the_talk_goes_on(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    conversation = _conversation(tmp_path)
    waiting = asyncio.Event()

    async def never(_approval: Approval) -> Verdict:
        waiting.set()
        await asyncio.Event().wait()
        return Verdict.once

    turn = asyncio.create_task(_talk(conversation, "stop demo-1", never))
    await asyncio.wait_for(waiting.wait(), 20)
    assert conversation.interrupt()
    events = await asyncio.wait_for(turn, 20)
    assert events[-1] == Ended("builtin", interrupted=True)
    assert stopping == []
    assert not conversation.interrupt()
    calls = [e for e in conversation.session.entries if isinstance(e, CallEntry)]
    results = [e for e in conversation.session.entries if isinstance(e, ResultEntry)]
    assert [r.call for r in results] == [c.call for c in calls]
    again = await _talk(conversation, "hello")
    assert again[-1] == Ended("builtin")


async def test_a_face_that_goes_away_ends_the_turn(
    tmp_path: Path, stopping: list[str | None]
) -> None:
    del stopping
    conversation = _conversation(tmp_path)
    waiting = asyncio.Event()

    async def never(_approval: Approval) -> Verdict:
        waiting.set()
        await asyncio.Event().wait()
        return Verdict.once

    turn = asyncio.create_task(_talk(conversation, "stop demo-1", never))
    await asyncio.wait_for(waiting.wait(), 20)
    turn.cancel()
    with pytest.raises(asyncio.CancelledError):
        await turn
    assert isinstance(conversation.session.entries[-1], ResultEntry)


async def test_words_of_an_interrupted_language_model_are_kept(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        yield "half an "
        yield "answer"
        begun.set()
        await asyncio.Event().wait()

    conversation = _conversation(tmp_path, FunctionModel(stream_function=stream, model_name="slow"))
    turn = asyncio.create_task(_talk(conversation, "tell me"))
    await asyncio.wait_for(begun.wait(), 20)
    conversation.interrupt()
    events = await asyncio.wait_for(turn, 20)
    assert events[-1] == Ended("slow", interrupted=True)
    last = conversation.session.entries[-1]
    assert last == TutorEntry(words="half an answer", answered_by="slow", interrupted=True)


@pytest.mark.parametrize("after", ["", "half an answer "])
async def test_the_builtin_brain_stands_in_for_a_failing_model(tmp_path: Path, after: str) -> None:
    conversation = _conversation(tmp_path, _failing(ModelAPIError("scripted", "boom"), after))
    events = await _talk(conversation, "what can you do?")
    assert events[-1] == Ended("builtin")
    assert "diagnose" in _text(events)
    (trouble,) = [event for event in events if isinstance(event, Trouble)]
    assert "built-in" in trouble.text.en
    assert "内置" in trouble.text.zh


async def test_an_unreachable_server_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unused_tcp_port_factory: Callable[[], int]
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{unused_tcp_port_factory()}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "x" * 20)
    monkeypatch.setenv("TUTOR_LLM_MODEL", "some-model")
    context = Context(tmp_path)
    conversation = Conversation(context, new_session(tmp_path))
    conversation.load()
    assert conversation.answers_with == "some-model"
    events = await _talk(conversation, "hello")
    assert events[-1] == Ended("builtin")
    assert any("reached" in e.text.en for e in events if isinstance(e, Trouble))


async def test_a_server_that_refuses_the_key_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        body = b'{"error": {"message": "bad key", "code": "invalid_api_key"}}'
        head = (
            f"HTTP/1.1 401 X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
        )
        writer.write(head.encode() + b"connection: close\r\n\r\n" + body)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-" + "x" * 20)
    monkeypatch.setenv("TUTOR_LLM_MODEL", "some-model")
    async with server:
        events = await _talk(Conversation(Context(tmp_path), new_session(tmp_path)), "hello")
    assert events[-1] == Ended("builtin")
    assert any("key" in e.text.en for e in events if isinstance(e, Trouble))


async def test_a_model_that_never_ends_is_stopped(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path, _calling("list_files", "{}", times=1000))
    events = await _talk(conversation, "loop")
    assert any("too many" in e.text.en for e in events if isinstance(e, Trouble))
    assert isinstance(events[-1], Ended)


async def test_a_broken_configuration_is_said_and_the_builtin_brain_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.toml").write_text('[llm]\nprovider = "deepseek"\nmodle = "x"\n', "utf-8")
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(folder))
    events = await _talk(Conversation(Context(tmp_path), new_session(tmp_path)), "hello")
    assert any("modle" in e.text.en for e in events if isinstance(e, Trouble))
    assert events[-1] == Ended("builtin")


async def test_a_session_that_ended_in_a_call_goes_on(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path, _calling("list_files", "{}"))
    conversation.session.add(UserEntry(words="start"))
    conversation.session.add(CallEntry(call="old", tool="start_run"))
    events = await _talk(conversation, "go on")
    assert events[-1] == Ended("scripted")


async def test_a_defect_of_the_loop_reaches_the_face_as_an_error(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path, _failing(UserError("a defect")))
    with pytest.raises(UserError):
        await asyncio.wait_for(_talk(conversation, "x"), 20)


async def test_a_notice_makes_the_tutor_speak(tmp_path: Path) -> None:
    conversation = _conversation(tmp_path)
    conversation.session.add(UserEntry(words="启动"))
    text = Text(en="demo-1 was stopped at step 7.", zh="demo-1 在第 7 步停止了。")
    notice = NoticeEntry(run="demo-1", happened="stopped", step=7, text=text)
    events = [event async for event in conversation.notify(notice, _deny)]
    assert "第 7 步" in _text(events)
    assert "继续训练" in _text(events)


def test_importing_the_seam_imports_no_language_model_library() -> None:
    code = (
        "import sys, tutor_agent.brain.conversation, tutor_agent.brain.ask, tutor_agent.brain.sessions;"
        "heavy = {'pydantic_ai', 'openai', 'torch', 'transformers', 'textual'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
