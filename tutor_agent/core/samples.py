"""From a row to what a model learns: messages with an answer, or plain text."""

from __future__ import annotations

import ast
import json
from typing import TYPE_CHECKING, Any, Literal, cast

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.row_roles import Detected, detect
from tutor_agent.core.text import detect_language

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tutor_agent.core.plan import DataFormat, Task

__all__ = ["Detected", "Message", "Sample", "detect", "to_sample"]

Role = Literal["system", "user", "assistant", "tool"]

_SPEAKERS: dict[str, Role] = {
    **dict.fromkeys(("user", "human", "用户", "人类", "问", "customer", "usr"), "user"),
    **dict.fromkeys(
        ("assistant", "gpt", "chatgpt", "bot", "model", "ai", "助手", "助理", "客服", "答"),
        "assistant",
    ),
    **dict.fromkeys(("function_call", "tool_call"), "assistant"),
    **dict.fromkeys(("system", "developer", "系统"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "ipython"), "tool"),
}


class Message(Contract):
    """One turn."""

    role: Role
    """Who speaks."""
    content: str
    """What is said."""


class Sample(Contract):
    """One thing to learn: messages that end with an answer, or text."""

    messages: tuple[Message, ...] = ()
    """The turns; empty for plain text."""
    text: str | None = None
    """Plain text to continue training on."""
    label: str | None = None
    """The class, for classification."""
    context: str = ""
    """The part of a question that is shortened first when a sample is too long: a passage, a document."""
    accepted: tuple[str, ...] = ()
    """All answers that count as right, where the data lists several; the first of them is learnt."""

    @property
    def answer(self) -> str:
        """The last thing the assistant says, or the text."""
        return self.messages[-1].content if self.messages else self.text or ""

    @property
    def characters(self) -> int:
        """Length of everything in characters."""
        return sum(len(message.content) for message in self.messages) + len(self.text or "")


def to_sample(
    values: Mapping[str, Any], data_format: DataFormat, roles: Mapping[str, str], task: Task
) -> Sample:
    """Turn a row into a sample, the same way for probing and for training.

    Args:
        values: The row, by column.
        data_format: Shape of a row; `auto` looks at this row.
        roles: Which column plays which part; parts that are not named are left out.
        task: What is learnt; it decides whether a label is kept.

    Raises:
        UnreadableError: The row has no answer, no text, or an unknown speaker.
    """
    if data_format == "auto" or not roles:
        found = detect(list(values), [values])
        data_format, roles = found.format, {**found.roles, **roles}
    parts = {role: values.get(column) for role, column in roles.items()}
    turns = parts.get("messages", parts.get("conversations"))
    if "messages" in roles or "conversations" in roles:
        accepted = _accepted(parts.get("completion"))
        return Sample(messages=_conversation(turns, parts), accepted=accepted)
    if "completion" not in roles and "label" not in roles:
        return Sample(text=_required(parts.get("text", parts.get("prompt")), "text", "文本"))
    if "completion" in roles:
        return _pair(parts, data_format, task)
    text = _required(parts.get("text", parts.get("prompt")), "text", "文本")
    context = words_of(parts.get("context"))
    prompt = "\n\n".join(filter(None, (context, text)))
    label = _required(parts["label"], "label", "标签")
    turns = _with_system(parts, _turn("user", prompt), _turn("assistant", label))
    classes = task == "classification"
    return Sample(
        messages=turns,
        label=label if classes else None,
        context=context or (text if classes else ""),
    )


def words_of(value: Any, *, chinese: bool = False) -> str:
    """Return a cell as text: the first of several answers, yes/no for a truth value."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return ("是" if value else "否") if chinese else ("Yes" if value else "No")
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value)
        return words_of(next((inner[k] for k in ("text", "value", "content") if k in inner), None))
    if isinstance(value, list | tuple):
        items = cast("list[Any]", value)
        return words_of(items[0], chinese=chinese) if items else ""
    words = str(value).strip()
    # Some published files keep a list of accepted answers as the text of a Python list.
    if words.startswith(("['", '["')) and words.endswith("]"):
        try:
            return words_of(ast.literal_eval(words))
        except (ValueError, SyntaxError):
            return words
    return words


def _pair(parts: Mapping[str, Any], data_format: DataFormat, task: Task) -> Sample:
    prompt = words_of(parts.get("prompt", parts.get("text")))
    context = words_of(parts.get("context"))
    pieces = [prompt, context] if data_format == "alpaca" else [context, prompt]
    options = _options(parts.get("options"))
    question = "\n\n".join(piece for piece in (*pieces, options) if piece)
    chinese = detect_language(question) == "zh"
    answer = _required(parts.get("completion"), "answer", "回答", chinese=chinese)
    if not question:
        raise _missing("question", "问题")
    turns = (*_history(parts.get("history")), _turn("user", question), _turn("assistant", answer))
    whole = prompt if task in {"summarization", "classification"} else ""
    accepted = _accepted(parts.get("completion"))
    return Sample(messages=_with_system(parts, *turns), context=context or whole, accepted=accepted)


def _accepted(value: Any) -> tuple[str, ...]:
    """Return all answers of a cell that lists several, else nothing."""
    if isinstance(value, dict):
        value = cast("dict[str, Any]", value).get("text")
    parsed = _parsed(value) if isinstance(value, str) and value.lstrip()[:1] == "[" else value
    if not isinstance(parsed, list | tuple):
        return ()
    words = dict.fromkeys(words_of(item) for item in cast("list[Any]", parsed))
    found = tuple(filter(None, words))
    return found if len(found) > 1 else ()


def _options(value: Any) -> str:
    parsed = _parsed(value)
    if isinstance(parsed, dict):
        inner = cast("dict[str, Any]", parsed)
        names, texts = inner.get("label"), inner.get("text")
        if isinstance(names, list) and isinstance(texts, list):
            pairs = zip(cast("list[Any]", names), cast("list[Any]", texts), strict=False)
            return "\n".join(f"{name}. {text}" for name, text in pairs)
        return "\n".join(f"{name}. {text}" for name, text in inner.items())
    if isinstance(parsed, list):
        return "\n".join(str(item) for item in cast("list[Any]", parsed))
    return words_of(value)


def _history(value: Any) -> list[Message]:
    parsed = _parsed(value)
    rounds = cast("list[Any]", parsed) if isinstance(parsed, list) else []
    turns: list[Message] = []
    for item in rounds:
        if isinstance(item, list | tuple) and len(cast("list[Any]", item)) == 2:
            question, answer = cast("list[Any]", item)
            turns += [_turn("user", words_of(question)), _turn("assistant", words_of(answer))]
    return turns


def _conversation(value: Any, parts: Mapping[str, Any]) -> tuple[Message, ...]:
    parsed = _parsed(value)
    if not isinstance(parsed, list):
        raise UnreadableError(
            f"The messages are {type(value).__name__}, not a list of turns with role and content.",
            f"对话内容是 {type(value).__name__}，而不是带 role 和 content 的轮次列表。",
        )
    items = cast("list[Any]", parsed)
    turns = [_turn_of(item, i) for i, item in enumerate(items)]
    if answer := words_of(parts.get("completion")):
        turns.append(_turn("assistant", answer))
    # Turns after the last answer teach nothing.
    while turns and turns[-1].role != "assistant":
        turns.pop()
    if not turns or not turns[-1].content.strip():
        raise _missing("answer", "回答")
    return _with_system(parts, *turns)


def _turn_of(item: Any, position: int) -> Message:
    if isinstance(item, str):
        return _turn("assistant" if position % 2 else "user", item)
    turn: dict[str, Any] = cast("dict[str, Any]", item) if isinstance(item, dict) else {}
    speaker = next((turn[k] for k in ("role", "from", "speaker") if k in turn), None)
    role = _SPEAKERS.get(str(speaker).strip().lower())
    if role is None:
        raise UnreadableError(
            f"Turn {position + 1} has the speaker {speaker!r}. Allowed: system, user, assistant, tool.",
            f"第 {position + 1} 轮的角色是 {speaker!r}。可用：system、user、assistant、tool。",
        )
    content = next((turn[k] for k in ("content", "value", "text") if k in turn), None)
    return _turn(role, _content(content))


def _content(value: Any) -> str:
    """Join the text pieces of a message that is written as a list of parts."""
    if isinstance(value, list):
        pieces = cast("list[Any]", value)
        return "".join(words_of(piece) for piece in pieces)
    return "" if value is None else str(value)


def _with_system(parts: Mapping[str, Any], *turns: Message) -> tuple[Message, ...]:
    system = words_of(parts.get("system"))
    if system and turns[0].role != "system":
        return (_turn("system", system), *turns)
    return turns


def _parsed(value: Any) -> Any:
    """Return the list or mapping that a text cell holds, else the value itself."""
    if isinstance(value, str) and value.lstrip()[:1] in {"[", "{"}:
        try:
            return json.loads(value)
        except ValueError:
            try:
                return ast.literal_eval(value)
            except (ValueError, SyntaxError):
                return value
    return value


def _turn(role: Role, content: str) -> Message:
    return Message(role=role, content=content)


def _required(value: Any, english: str, name: str, *, chinese: bool = False) -> str:
    words = words_of(value, chinese=chinese)
    if not words:
        raise _missing(english, name)
    return words


def _missing(english: str, chinese: str) -> UnreadableError:
    return UnreadableError(
        f"The row has no {english}, so there is nothing to learn from it. Fill it in or remove the row.",
        f"该行没有{chinese}，无法用于学习。请补全或删除该行。",
    )
