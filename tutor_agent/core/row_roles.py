"""Which column plays which part, from the names and from what is in the columns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from tutor_agent.core.errors import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tutor_agent.core.plan import DataFormat, Task

_SYSTEM = ("system", "systemprompt", "系统", "系统提示", "系统提示词")
_HISTORY = ("history", "历史", "历史对话")
_INSTRUCTION = ("instruction", "指令", "任务")
_QUESTION = ("question", "questions", "q", "ask", "problem", "问题", "提问", "问", "题目", "问句")
_PROMPT = (
    *("prompt", "query", "input", "source", "src", "user", "human", "request", "prefix"),
    *("提示", "提示词", "输入", "用户", "用户输入", "请求", "上句", "上联", "原句"),
)
_ANSWER = ("answer", "answers", "a", "solution", "回答", "答案", "答", "解答", "回复内容")
_COMPLETION = (
    *("completion", "response", "output", "reply", "target", "tgt", "assistant", "ideal", "chosen"),
    *("goldanswer", "输出", "回复", "响应", "助手", "应答", "下句", "下联", "译文", "目标"),
)
_CONTEXT = (
    *("context", "passage", "paragraph", "evidence", "background", "story", "material"),
    *("上下文", "背景", "段落", "材料", "阅读材料", "篇章"),
)
_DOCUMENT = (
    *("document", "article", "dialogue", "report", "source", "text", "content", "passage"),
    *("文档", "文章", "原文", "正文", "内容", "文本"),
)
_SUMMARY = ("summary", "summaries", "highlights", "abstract", "tldr", "摘要", "总结", "概要")
_LABEL = (
    *("label", "labels", "class", "category", "sentiment", "intent", "tag", "topic", "target", "y"),
    *("标签", "类别", "分类", "情感", "意图", "类型", "标注"),
)
_TEXT = (
    *("text", "content", "sentence", "review", "comment", "document", "article", "body", "corpus"),
    *("文本", "内容", "句子", "评论", "正文", "文章", "语料"),
)
_CHAT = (
    *("messages", "conversations", "conversation", "dialog", "dialogue", "chat", "turns"),
    *("对话", "消息", "会话", "多轮对话", "input", "prompt"),
)
_TALKS = set(_CHAT) - {"input", "prompt"}
_OPTIONS = ("options", "choices", "选项")
_ASIDE = re.compile(
    r"^(unnamed.*|.*id|idx|index|no|num|number|编号|序号|url|link|来源|出处|date|time|timestamp|日期|时间"
    r"|lang|language|语言|split|meta|metadata|score|评分|title|标题|license|quality)$"
)
_MAX_CLASSES = 50


_KNOWN = {
    *(*_SYSTEM, *_HISTORY, *_INSTRUCTION, *_QUESTION, *_PROMPT, *_ANSWER, *_COMPLETION, *_CONTEXT),
    *(*_DOCUMENT, *_SUMMARY, *_LABEL, *_TEXT, *_CHAT, *_OPTIONS),
}


def is_known_name(name: str) -> bool:
    """Return whether data files commonly call a column so."""
    simple = _simple(name)
    return simple in _KNOWN or bool(_ASIDE.match(simple))


class Detected(NamedTuple):
    """What the columns say."""

    format: DataFormat
    task: Task
    roles: dict[str, str]


@dataclass(frozen=True)
class _Columns:
    """Columns by their simplified names, with the first values of each."""

    names: dict[str, str]
    values: dict[str, list[Any]]

    def named(self, *groups: tuple[str, ...], empty: bool = False) -> str | None:
        """Return the first column called by one of the names, in the order of the names.

        A column without values is passed over at first; with `empty` it is better than none.
        """
        found = [self.names[name] for group in groups for name in group if name in self.names]
        filled = [column for column in found if self.values[column]]
        return next(iter(filled or (found if empty else [])), None)

    def texts(self) -> list[str]:
        """Return the columns that hold words and are not asides such as ids and dates."""
        return [
            column
            for simple, column in self.names.items()
            if not _ASIDE.match(simple) and _is_text(self.values[column])
        ]

    def distinct(self, column: str) -> int:
        return len({str(value).strip() for value in self.values[column]})

    def mean_length(self, column: str) -> float:
        lengths = [len(str(value)) for value in self.values[column]]
        return sum(lengths) / max(1, len(lengths))


def detect(columns: Sequence[str], first_rows: Sequence[Mapping[str, Any]]) -> Detected:
    """Return format, task and the part that each column plays.

    Raises:
        UnreadableError: No column can be the text, or none the answer.
    """
    known = _Columns(
        {_simple(name): name for name in reversed(columns)},
        {name: [r[name] for r in first_rows if r.get(name) not in (None, "")] for name in columns},
    )
    known = _Columns(dict(reversed(known.names.items())), known.values)
    for recognise in (_chat, _alpaca, _summary, _classes, _named_pair, _plain, _two_texts):
        if found := recognise(known):
            return found
    raise UnreadableError(
        f"None of the columns {', '.join(map(repr, columns)) or '(none)'} can be told to be a question, "
        "an answer, a label or a text. Name them in the plan: `data.columns: {prompt: …, completion: …}`.",
        f"无法从列 {'、'.join(map(repr, columns)) or '（无）'} 中认出问题、回答、标签或文本。"
        "请在计划里写明：`data.columns: {prompt: …, completion: …}`。",
    )


def _chat(known: _Columns) -> Detected | None:
    ordered = [known.names[name] for name in _CHAT if name in known.names]
    for column in dict.fromkeys((*ordered, *known.names.values())):
        first = next(iter(known.values[column]), None)
        turns = turns_of(first)
        # A bare list of texts may as well be the options of a question.
        if turns is None or (isinstance(turns[0], str) and _simple(column) not in _TALKS):
            continue
        share_gpt = isinstance(turns[0], dict) and "from" in turns[0]
        roles = {"conversations" if share_gpt else "messages": column}
        if system := known.named(_SYSTEM):
            roles["system"] = system
        answer = known.named(_COMPLETION, _ANSWER)
        if answer and answer != column and not _ends_with_answer(turns):
            roles["completion"] = answer
        return Detected("sharegpt" if share_gpt else "messages", "chat", roles)
    return None


def _alpaca(known: _Columns) -> Detected | None:
    instruction = known.named(_INSTRUCTION)
    answer = known.named(("output", "输出"), _COMPLETION, _ANSWER, empty=True)
    if not instruction or not answer:
        return None
    roles = {"prompt": instruction, "completion": answer}
    if context := known.named(("input", "输入"), _CONTEXT):
        roles["context"] = context
    return Detected("alpaca", "chat", _with_extras(known, roles))


def _summary(known: _Columns) -> Detected | None:
    summary, document = known.named(_SUMMARY), known.named(_DOCUMENT)
    if not summary or not document or summary == document:
        return None
    roles = {"prompt": document, "completion": summary}
    return Detected("pairs", "summarization", _with_system(known, roles))


def _named_pair(known: _Columns) -> Detected | None:
    answer = known.named(_ANSWER, _COMPLETION, empty=True)
    if answer and _simple(answer) == "a" and "q" not in known.names:
        return None
    question = known.named(_QUESTION, _PROMPT, _INSTRUCTION)
    context = known.named(_CONTEXT)
    if not answer or question == answer:
        return None
    if not question:
        others = [column for column in known.texts() if column != answer]
        question, context = (others[0] if len(others) == 1 else context), None
    if not question:
        return None
    roles = {"prompt": question, "completion": answer}
    context = context or _long_material(known, question, answer)
    if context and context not in roles.values():
        roles["context"] = context
    return Detected("pairs", _pair_task(known, roles), _with_extras(known, roles))


def _long_material(known: _Columns, question: str, answer: str) -> str | None:
    """Return the one other text column that stands before the answer and outweighs the question."""
    order = list(known.names.values())
    taken = {question, answer, known.named(_SYSTEM), known.named(_OPTIONS), known.named(_HISTORY)}
    others = [column for column in known.texts() if column not in taken]
    if len(others) != 1 or order.index(others[0]) > order.index(answer):
        return None
    return others[0] if known.mean_length(others[0]) > known.mean_length(question) else None


def _pair_task(known: _Columns, roles: Mapping[str, str]) -> Task:
    if roles["prompt"] == known.named(_QUESTION) or roles["completion"] == known.named(_ANSWER):
        return "qa"
    return "completion" if _simple(roles["completion"]) == "completion" else "chat"


def _classes(known: _Columns) -> Detected | None:
    label = known.named(_LABEL) or known.named(("label", "标签"), empty=True)
    if not label or not _is_label(known, label):
        return None
    others = [column for column in known.texts() if column != label]
    if known.named(_ANSWER, _COMPLETION) not in (None, label):
        return None
    text = known.named(_TEXT, _QUESTION, _PROMPT) or max(
        others, key=known.mean_length, default=None
    )
    if not text or text == label:
        return None
    roles = {"text": text, "label": label}
    context = known.named(_CONTEXT)
    if context and context != text and known.named(_QUESTION) == text:
        roles["context"] = context
    return Detected("labelled", "classification", _with_system(known, roles))


def _plain(known: _Columns) -> Detected | None:
    if known.named(_QUESTION):
        return None
    texts = known.texts()
    named = known.named(_TEXT)
    if len(texts) == 1 and len(known.names) <= 2 and _is_classes_by_content(known, texts[0]):
        return _by_content(known, texts[0])
    if len(texts) == 1 or (named and _simple(named) in {"text", "文本", "content", "正文"}):
        return Detected("text", "pretraining", {"text": named or texts[0]})
    return None


def _two_texts(known: _Columns) -> Detected | None:
    texts, question = known.texts(), known.named(_QUESTION)
    if question:
        beside = {question, known.named(_CONTEXT), known.named(_OPTIONS)}
        texts = [question, *(column for column in texts if column not in beside)]
        if len(texts) < 2:
            raise _no_answers(question)
    if len(texts) < 2:
        return None
    first, second = texts[:2]
    if len(texts) == 2 and _repeats(known, second):
        return Detected("labelled", "classification", {"text": first, "label": second})
    return Detected("pairs", "chat", {"prompt": first, "completion": second})


def _no_answers(question: str) -> UnreadableError:
    return UnreadableError(
        f"The column {question!r} holds questions, and no column answers them. Add one called 'answer', or "
        "name it in the plan: `data.columns: {prompt: …, completion: …}`.",
        f"列 {question!r} 是问题，但没有回答列。请添加名为「回答」的列，"
        "或在计划里写明：`data.columns: {prompt: …, completion: …}`。",
    )


def _by_content(known: _Columns, text: str) -> Detected:
    label = next(column for column in known.names.values() if column != text)
    return Detected("labelled", "classification", {"text": text, "label": label})


def _is_classes_by_content(known: _Columns, text: str) -> bool:
    """Return whether the other column holds a few whole numbers or words, each many times."""
    others = [column for column in known.names.values() if column != text]
    if len(others) != 1 or _ASIDE.match(_simple(others[0])):
        return False
    return _repeats(known, others[0])


def _repeats(known: _Columns, column: str) -> bool:
    """Return whether a few values come again and again, as classes do."""
    count = len(known.values[column])
    return count >= 10 and known.distinct(column) <= max(2, count // 5)


def _is_label(known: _Columns, column: str) -> bool:
    """Return whether the values are short and few enough to be classes."""
    count = len(known.values[column])
    few = known.distinct(column) <= max(_MAX_CLASSES, count // 4)
    return few and known.mean_length(column) <= 30


def _with_extras(known: _Columns, roles: dict[str, str]) -> dict[str, str]:
    extras = {"system": _SYSTEM, "history": _HISTORY, "options": _OPTIONS}
    found = {role: known.named(names) for role, names in extras.items()}
    return roles | {role: column for role, column in found.items() if column}


def _with_system(known: _Columns, roles: dict[str, str]) -> dict[str, str]:
    system = known.named(_SYSTEM)
    return roles | ({"system": system} if system and system not in roles.values() else {})


def turns_of(value: Any) -> list[Any] | None:
    """Return the turns when `value` is a conversation, as a list or as JSON in a text cell."""
    if isinstance(value, str) and value.lstrip().startswith("[{"):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    if not isinstance(value, list) or not value:
        return None
    turns = cast("list[Any]", value)
    if all(isinstance(turn, str) for turn in turns):
        return turns if len(turns) >= 2 and len(turns) % 2 == 0 else None
    speaks = ({"role", "content"}, {"from", "value"}, {"speaker", "text"}, {"role", "text"})
    keys = [set(cast("dict[str, Any]", turn)) for turn in turns if isinstance(turn, dict)]
    whole = len(keys) == len(turns) and all(any(k <= have for k in speaks) for have in keys)
    return turns if whole else None


def _ends_with_answer(turns: list[Any]) -> bool:
    last = turns[-1]
    if isinstance(last, str):
        return True
    speaker = str(last.get("role", last.get("from", last.get("speaker", "")))).lower()
    return speaker not in {"user", "human", "system", "用户"}


def _is_text(values: list[Any]) -> bool:
    words = [value for value in values if isinstance(value, str)]
    if len(words) < max(1, len(values) // 2):
        return False
    numbers = sum(1 for word in words if re.fullmatch(r"\s*[-+]?[\d.,]+%?\s*", word))
    return numbers < len(words) / 2


def _simple(name: str) -> str:
    return re.sub(r"[\s_\-./]+", "", name.strip().lstrip("\ufeff")).lower()
