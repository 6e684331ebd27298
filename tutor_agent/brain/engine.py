"""The agent loop over pydantic-ai; the only module that knows it.

The built-in brain is a model like any other: it runs alone, or behind a language model and stands in when
that fails. Whatever is said and done is written to the session at once, so an interrupt loses nothing.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

os.environ.setdefault("PYDANTIC_AI_NO_BANNER", "1")

from pydantic_ai import Agent, RunContext
from pydantic_ai import Tool as AgentTool
from pydantic_ai.capabilities import HandleDeferredToolCalls
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, UsageLimitExceeded
from pydantic_ai.messages import (
    ModelMessage,
    ModelRequest,
    ModelResponse,
    ModelResponseStreamEvent,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.deepseek import DeepSeekProvider
from pydantic_ai.providers.ollama import OllamaProvider
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.tools import DeferredToolRequests, DeferredToolResults, ToolDenied
from pydantic_ai.usage import RequestUsage, UsageLimits

from tutor_agent.brain.builtin import Decision, decide, language_of
from tutor_agent.brain.failures import advise
from tutor_agent.brain.history import (
    CallEntry,
    Entry,
    NoticeEntry,
    ResultEntry,
    TutorEntry,
    UserEntry,
    denials,
    latest,
)
from tutor_agent.brain.prompt import as_prompt, instructions
from tutor_agent.brain.scribe import Scribe
from tutor_agent.brain.settings import LlmSettings, load_llm
from tutor_agent.brain.talk import Progress, Trouble
from tutor_agent.brain.tools import BY_NAME, TOOLS, Desk, Tool
from tutor_agent.core.errors import TutorError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Sequence

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.sessions import Session
    from tutor_agent.brain.talk import Approve, TalkEvent
    from tutor_agent.core.text import Language, Text

BUILTIN = "builtin"
_CHUNK = 24
"""Characters of one piece of a streamed answer of the built-in brain."""


class BuiltinTutorModel(Model):
    """The built-in brain as a model. It reads the conversation itself, not the messages made of it."""

    def __init__(
        self,
        history: Callable[[], Sequence[Entry]],
        spoke: Callable[[], None],
        language: Language,
    ) -> None:
        super().__init__()
        self._history = history
        self._spoke = spoke
        self._language: Language = language

    @property
    def model_name(self) -> str:
        """Name shown to the person."""
        return BUILTIN

    @property
    def system(self) -> str:
        """Name of the provider."""
        return "tutor"

    async def request(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
    ) -> ModelResponse:
        """Decide, in one piece."""
        decision = self._decide(model_request_parameters)
        parts = [TextPart(decision.text)] if decision.text else []
        calls = [ToolCallPart(c.tool, c.arguments, _new_id()) for c in decision.calls]
        return ModelResponse(parts=[*parts, *calls], model_name=BUILTIN, usage=RequestUsage())

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: RunContext[Any] | None = None,
    ) -> AsyncGenerator[StreamedResponse]:
        """Decide, and stream the words."""
        decision = self._decide(model_request_parameters)
        yield _BuiltinStream(model_request_parameters=model_request_parameters, decision=decision)

    def _decide(self, parameters: ModelRequestParameters) -> Decision:
        self._spoke()
        names = [tool.name for tool in parameters.function_tools]
        return decide(self._history(), names, self._language)


@dataclass
class _BuiltinStream(StreamedResponse):
    decision: Decision = field(default_factory=Decision)
    begun: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def _get_event_iterator(self) -> AsyncIterator[ModelResponseStreamEvent]:
        text = self.decision.text
        for start in range(0, len(text), _CHUNK):
            piece = text[start : start + _CHUNK]
            for event in self._parts_manager.handle_text_delta(
                vendor_part_id="text", content=piece
            ):
                yield event
            await asyncio.sleep(0)
        for number, call in enumerate(self.decision.calls):
            yield self._parts_manager.handle_tool_call_part(
                vendor_part_id=f"call-{number}",
                tool_name=call.tool,
                args=json.dumps(call.arguments, ensure_ascii=False),
                tool_call_id=_new_id(),
            )

    @property
    def model_name(self) -> str:
        return BUILTIN

    @property
    def provider_name(self) -> str:
        return "tutor"

    @property
    def provider_url(self) -> None:
        return None

    @property
    def timestamp(self) -> datetime:
        return self.begun


class Engine:
    """Answers one turn after another. Made once a conversation."""

    def __init__(self, context: Context, llm: Model | None = None) -> None:
        self._context = context
        self._settings: LlmSettings | None = None
        self._llm = llm
        self._trouble: Text | None = None
        if llm is None:
            self._configure()

    def _configure(self) -> None:
        """Take the configured language model; when it cannot be used, say so in the first turn."""
        try:
            self._settings = load_llm()
            self._llm = language_model(self._settings) if self._settings else None
        except TutorError as error:
            self._trouble = error.text

    @property
    def answers_with(self) -> str:
        """Name of the model that answers first."""
        return self._llm.model_name if self._llm else BUILTIN

    async def turn(
        self,
        session: Session,
        entry: UserEntry | NoticeEntry,
        approve: Approve,
        emit: Callable[[TalkEvent], None],
    ) -> None:
        """Answer one message or event; every outcome ends with `Ended`."""
        if self._trouble is not None:
            emit(Trouble(self._trouble))
            self._trouble = None
        for denial in denials(list(session.entries)):
            session.add(denial)
        earlier = session.entries
        session.add(entry)
        language = language_of(session.entries, self._context.language)
        context = replace(self._context, language=language)
        typed = "\n".join(e.words for e in session.entries if isinstance(e, UserEntry))
        desk = Desk(context, _from_thread(emit), typed, self._shares_rows())
        await _Turn(self, Scribe(session, desk, approve, emit)).run(earlier, as_prompt(entry))

    def _shares_rows(self) -> bool:
        return self._llm is None or (self._settings is not None and self._settings.share_rows)

    @property
    def llm(self) -> Model | None:
        """The language model, if one is configured."""
        return self._llm

    @property
    def limits(self) -> tuple[int, int]:
        """Requests in one turn, and earlier turns sent along."""
        settings = self._settings
        return (settings.requests, settings.turns) if settings else (30, 20)


class _Turn:
    """One turn of the agent over a scribe."""

    def __init__(self, engine: Engine, scribe: Scribe) -> None:
        self._engine, self._scribe = engine, scribe
        scribe.speaker = engine.answers_with

    async def run(self, earlier: Sequence[Entry], prompt: str) -> None:
        """Run the agent; when the language model fails for good, the built-in brain finishes the turn."""
        interrupted = False
        try:
            if self._engine.llm is None or not await self._ask_llm(earlier, prompt):
                await self._agent(self._builtin(), prompt, [])
        except asyncio.CancelledError:
            interrupted = True
            raise
        finally:
            self._scribe.finish(interrupted=interrupted)

    async def _ask_llm(self, earlier: Sequence[Entry], prompt: str) -> bool:
        """Let the language model answer; False when the built-in brain has to begin anew."""
        _requests, turns = self._engine.limits
        llm = cast("Model", self._engine.llm)
        model = FallbackModel(llm, self._builtin(), fallback_on=self._failed)
        try:
            await self._agent(model, prompt, to_messages(latest(earlier, turns)))
        except UsageLimitExceeded as error:
            self._scribe.emit(Trouble(advise(error, stands_in=False)))
        except (AgentRunError, ExceptionGroup) as error:
            self._scribe.flush(interrupted=True)
            self._scribe.emit(Trouble(advise(error, stands_in=True)))
            return False
        return True

    def _builtin(self) -> BuiltinTutorModel:
        session, language = self._scribe.session, self._scribe.desk.context.language
        return BuiltinTutorModel(lambda: session.entries, self._builtin_speaks, language)

    def _builtin_speaks(self) -> None:
        self._scribe.speaker = BUILTIN

    async def _agent(self, model: Model, prompt: str, messages: list[ModelMessage]) -> None:
        agent = Agent(
            model,
            instructions=instructions(self._scribe.desk.context.language),
            tools=[self._wrapped(tool) for tool in TOOLS],
            capabilities=[HandleDeferredToolCalls(handler=self._approve)],
            retries=2,
        )
        await agent.run(
            prompt,
            message_history=messages,
            event_stream_handler=self._hear,
            usage_limits=UsageLimits(request_limit=self._engine.limits[0]),
        )

    async def _hear(self, _context: RunContext[Any], events: AsyncIterable[Any]) -> None:
        async for event in events:
            if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
                self._scribe.say(event.part.content)
            elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
                self._scribe.say(event.delta.content_delta)
        self._scribe.flush()

    def _failed(self, error: Exception) -> bool:
        """Let the built-in brain stand in, and say why."""
        if not isinstance(error, ModelAPIError):
            return False
        self._scribe.emit(Trouble(advise(error, stands_in=True)))
        return True

    def _wrapped(self, tool: Tool) -> AgentTool[Any]:
        async def use(context: RunContext[Any], **arguments: Any) -> dict[str, Any]:
            answer = await self._scribe.use(context.tool_call_id or _new_id(), tool, arguments)
            self._scribe.speaker = self._engine.answers_with
            return answer

        wrapped = AgentTool[Any].from_schema(
            use,
            name=tool.name,
            description=tool.description,
            json_schema=tool.parameters.model_json_schema(),
            takes_ctx=True,
            sequential=tool.approval,
        )
        wrapped.requires_approval = tool.approval
        return wrapped

    async def _approve(
        self, _context: RunContext[Any], requests: DeferredToolRequests
    ) -> DeferredToolResults:
        verdicts: dict[str, bool | ToolDenied] = {}
        for part in requests.approvals:
            arguments = part.args_as_dict()
            refused = await self._scribe.refuse(
                part.tool_call_id, BY_NAME[part.tool_name], arguments
            )
            language = self._scribe.desk.context.language
            verdicts[part.tool_call_id] = ToolDenied(refused.pick(language)) if refused else True
        return requests.build_results(approvals=verdicts)


def language_model(settings: LlmSettings) -> Model:
    """Build the client of a language model.

    Raises:
        UnavailableError: The key or the model's name is missing.
    """
    key = os.environ.get(settings.api_key_env or "") or None
    if settings.provider != "ollama" and key is None:
        raise UnavailableError(
            f"The variable {settings.api_key_env!r} with the key of {settings.provider!r} is not set. Set it, or "
            "TUTOR_LLM=none.",
            f"没有设置存放 {settings.provider!r} 密钥的环境变量 {settings.api_key_env!r}。请设置它，或设 TUTOR_LLM=none。",
        )
    if not settings.model:
        raise UnavailableError(
            "No model is named: set `model` under [llm] in config.toml, or TUTOR_LLM_MODEL.",
            "没有指定模型：请设置 config.toml 中 [llm] 的 model，或环境变量 TUTOR_LLM_MODEL。",
        )
    limits = ModelSettings(
        request_timeout=settings.timeout, first_event_timeout=settings.first_word, max_retries=0
    )
    if settings.provider == "ollama":
        provider = OllamaProvider(base_url=settings.base_url)
    elif settings.provider == "deepseek" and settings.base_url is None:
        provider = DeepSeekProvider(api_key=key)
    else:
        provider = OpenAIProvider(base_url=settings.base_url, api_key=key)
    return OpenAIChatModel(settings.model, provider=provider, settings=limits)


def to_messages(entries: Sequence[Entry]) -> list[ModelMessage]:
    """Return a conversation as language models are given it."""
    answered = {e.call for e in entries if isinstance(e, ResultEntry)}
    messages: list[ModelMessage] = []
    for entry in entries:
        match entry:
            case UserEntry() | NoticeEntry():
                messages.append(ModelRequest(parts=[UserPromptPart(as_prompt(entry))]))
            case TutorEntry(words=words, answered_by=speaker):
                messages.append(ModelResponse(parts=[TextPart(words)], model_name=speaker))
            case CallEntry(call=call) if call in answered:
                part = ToolCallPart(entry.tool, entry.arguments, call)
                messages.append(ModelResponse(parts=[part]))
            case ResultEntry():
                content = {
                    "summary": entry.summary.en,
                    "outcome": entry.outcome,
                    "data": entry.data,
                }
                part = ToolReturnPart(entry.tool, content, entry.call)
                messages.append(ModelRequest(parts=[part]))
            case _:
                pass
    return messages


def _from_thread(emit: Callable[[TalkEvent], None]) -> Callable[[Text], None]:
    """Return a reporter that a tool may call from its worker thread."""
    loop = asyncio.get_running_loop()
    return lambda text: cast("None", loop.call_soon_threadsafe(emit, Progress("start_run", text)))


def _new_id() -> str:
    return uuid.uuid4().hex[:12]
