"""Conversations over the real engine, with scripted language models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic_ai.messages import ModelMessage, ModelRequest, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel

from tutor_agent.actions.context import Context
from tutor_agent.brain import engine as engines
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.sessions import new_session
from tutor_agent.brain.talk import Approval, Said, TalkEvent, Verdict

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tutor_agent.brain.talk import Approve


async def deny(_approval: Approval) -> Verdict:
    return Verdict.no


def saying(verdict: Verdict, asked: list[Approval] | None = None) -> Approve:
    async def approve(approval: Approval) -> Verdict:
        if asked is not None:
            asked.append(approval)
        return verdict

    return approve


async def talk(conversation: Conversation, words: str, approve: Approve = deny) -> list[TalkEvent]:
    return [event async for event in conversation.send(words, approve)]


def text_of(events: list[TalkEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, Said))


def conversation_in(tmp_path: Path, llm: FunctionModel | None = None) -> Conversation:
    context = Context(tmp_path)
    return Conversation(context, new_session(tmp_path), engines.Engine(context, llm))


def calling(tool: str, arguments: str, times: int = 1) -> FunctionModel:
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


def failing(error: Exception, after: str = "") -> FunctionModel:
    async def stream(_messages: list[ModelMessage], _info: AgentInfo) -> AsyncIterator[str]:
        if after:
            yield after
        raise error

    return FunctionModel(stream_function=stream, model_name="scripted")
