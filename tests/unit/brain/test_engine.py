"""The agent loop: streaming, approvals, interrupts, a language model that fails."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from pydantic_ai.exceptions import ModelAPIError, UserError
from pydantic_ai.models.function import AgentInfo, FunctionModel

from tests.unit.brain.speaking import calling, conversation_in, deny, failing, talk, text_of
from tutor_agent.actions.context import Context
from tutor_agent.brain import engine as engines
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.history import CallEntry, NoticeEntry, TutorEntry, UserEntry
from tutor_agent.brain.sessions import new_session, open_session
from tutor_agent.brain.talk import Ended, Said, Trouble, Used
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from pydantic_ai.messages import ModelMessage


async def test_the_builtin_brain_streams_and_is_written_down(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path)
    events = await talk(conversation, "你能做什么")
    assert len([e for e in events if isinstance(e, Said)]) > 1
    assert events[-1] == Ended("builtin")
    kept = open_session(tmp_path, conversation.session.id).entries
    assert kept[0] == UserEntry(words="你能做什么")
    assert isinstance(kept[1], TutorEntry)
    assert kept[1].words == text_of(events).strip()


async def test_a_tool_of_the_builtin_brain_shows_its_result(tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    events = await talk(conversation_in(tmp_path), "有哪些数据文件")
    (used,) = [event for event in events if isinstance(event, Used)]
    assert used.ok
    assert used.result.data == {"files": ["faq.csv"]}
    assert "faq.csv" in text_of(events)


async def test_a_language_model_uses_the_same_tools(tmp_path: Path) -> None:
    (tmp_path / "faq.csv").write_text("question,answer\na,b\n", encoding="utf-8")
    conversation = conversation_in(tmp_path, calling("list_files", "{}"))
    events = await talk(conversation, "what is here?")
    assert "faq.csv" in text_of(events)
    assert events[-1] == Ended("scripted")


async def test_wrong_arguments_come_back_to_the_model_as_words(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path, calling("inspect_data", '{"file": "x.csv"}'))
    events = await talk(conversation, "look")
    (used,) = [event for event in events if isinstance(event, Used)]
    assert not used.ok
    assert "file" in text_of(events)
    assert "path" in used.result.summary.en


async def test_a_path_outside_must_have_been_typed_by_the_person(tmp_path: Path) -> None:
    workspace, outside = tmp_path / "work", tmp_path / "secret.csv"
    workspace.mkdir()
    outside.write_text("question,answer\na,b\n", encoding="utf-8")
    model = calling("inspect_data", f'{{"path": "{outside}"}}')
    context = Context(workspace)
    conversation = Conversation(context, new_session(workspace), engines.Engine(context, model))
    refused = await talk(conversation, "look around")
    assert [e.ok for e in refused if isinstance(e, Used)] == [False]
    assert "outside" in text_of(refused)
    allowed = await talk(conversation, f"please look at {outside}.")
    assert [e.ok for e in allowed if isinstance(e, Used)] == [True]


async def test_words_of_an_interrupted_language_model_are_kept(tmp_path: Path) -> None:
    begun = asyncio.Event()

    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        yield "half an "
        yield "answer"
        begun.set()
        await asyncio.Event().wait()

    conversation = conversation_in(
        tmp_path, FunctionModel(stream_function=stream, model_name="slow")
    )
    turn = asyncio.create_task(talk(conversation, "tell me"))
    await asyncio.wait_for(begun.wait(), 20)
    conversation.interrupt()
    events = await asyncio.wait_for(turn, 20)
    assert events[-1] == Ended("slow", interrupted=True)
    last = conversation.session.entries[-1]
    assert last == TutorEntry(words="half an answer", answered_by="slow", interrupted=True)


@pytest.mark.parametrize("after", ["", "half an answer "])
async def test_the_builtin_brain_stands_in_for_a_failing_model(tmp_path: Path, after: str) -> None:
    conversation = conversation_in(tmp_path, failing(ModelAPIError("scripted", "boom"), after))
    events = await talk(conversation, "what can you do?")
    assert events[-1] == Ended("builtin")
    assert "diagnose" in text_of(events)
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
    events = await talk(conversation, "hello")
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
        events = await talk(Conversation(Context(tmp_path), new_session(tmp_path)), "hello")
    assert events[-1] == Ended("builtin")
    assert any("key" in e.text.en for e in events if isinstance(e, Trouble))


async def test_a_model_that_never_ends_is_stopped(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path, calling("list_files", "{}", times=1000))
    events = await talk(conversation, "loop")
    assert any("too many" in e.text.en for e in events if isinstance(e, Trouble))
    assert isinstance(events[-1], Ended)


async def test_a_broken_configuration_is_said_and_the_builtin_brain_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "config.toml").write_text('[llm]\nprovider = "deepseek"\nmodle = "x"\n', "utf-8")
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(folder))
    events = await talk(Conversation(Context(tmp_path), new_session(tmp_path)), "hello")
    assert any("modle" in e.text.en for e in events if isinstance(e, Trouble))
    assert events[-1] == Ended("builtin")


async def test_a_session_that_ended_in_a_call_goes_on(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path, calling("list_files", "{}"))
    conversation.session.add(UserEntry(words="start"))
    conversation.session.add(CallEntry(call="old", tool="start_run"))
    events = await talk(conversation, "go on")
    assert events[-1] == Ended("scripted")


async def test_a_defect_of_the_loop_reaches_the_face_as_an_error(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path, failing(UserError("a defect")))
    with pytest.raises(UserError):
        await asyncio.wait_for(talk(conversation, "x"), 20)


async def test_a_notice_makes_the_tutor_speak(tmp_path: Path) -> None:
    conversation = conversation_in(tmp_path)
    conversation.session.add(UserEntry(words="启动"))
    text = Text(en="demo-1 was stopped at step 7.", zh="demo-1 在第 7 步停止了。")
    notice = NoticeEntry(run="demo-1", happened="stopped", step=7, text=text)
    events = [event async for event in conversation.notify(notice, deny)]
    assert "第 7 步" in text_of(events)
    assert "继续训练" in text_of(events)


async def test_news_before_any_word_come_in_the_language_of_the_context(tmp_path: Path) -> None:
    conversation = Conversation(Context(tmp_path, "zh"), new_session(tmp_path))
    lost = Text(en="faq-1 was lost.", zh="faq-1 失去联系。")
    notice = NoticeEntry(run="faq-1", happened="lost", text=lost)
    events = [event async for event in conversation.notify(notice, deny)]
    assert "faq-1 失去联系" in text_of(events)
    assert "继续训练" in text_of(events)


def test_importing_the_seam_imports_no_language_model_library() -> None:
    code = (
        "import sys, tutor_agent.brain.conversation, tutor_agent.brain.ask, tutor_agent.brain.sessions;"
        "heavy = {'pydantic_ai', 'openai', 'torch', 'transformers', 'textual'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
