"""What a message says about the goal, the model and the machine."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Literal

from tutor_agent.brain.builtin.fields import named_values
from tutor_agent.brain.builtin.numbers import figures
from tutor_agent.core.errors import TutorError
from tutor_agent.library.accelerators import parse_accelerators
from tutor_agent.library.models import all_models, find_model

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.plan import Task

Wish = Literal["quality", "speed", "cost"]

_WISHES: tuple[tuple[Wish, re.Pattern[str]], ...] = (
    (
        "quality",
        re.compile(
            r"效果(?:最好|优先|好一?[点些]|越好)|(?:质量|效果|准确率?|精度)(?:是)?(?:最重要|最好|优先|第一|最高|要高)|精度优先|最好的效果|不计成本|"
            r"\b(?:best (?:quality|result|possible)\w*|highest quality|quality first|as good as possible|"
            r"quality matters|care (?:most )?about quality)\b",
            re.I,
        ),
    ),
    (
        "speed",
        re.compile(
            r"快一?[点些]|尽快|越快越好|速度(?:优先|第一|最快)|赶时间|最快|快速(?:训练|微调|试)|"
            r"\b(?:as fast as possible|faster|quickly|quick (?:try|test|run)|speed (?:first|matters)|asap|fastest|in a hurry)\b",
            re.I,
        ),
    ),
    (
        "cost",
        re.compile(
            r"省(?:钱|显存|内存|资源|成本)|便宜|低成本|成本(?:最低|优先|低)|显存(?:只有|不够|不足|小|有限|紧张)|资源有限|"
            r"\b(?:cheap\w*|save (?:money|memory|vram)|low(?:est)? (?:cost|memory)|limited (?:memory|vram|gpu)|"
            r"little (?:memory|vram)|small gpu|on a budget)\b",
            re.I,
        ),
    ),
)
_DOMAINS = re.compile(
    r"(医疗|医学|医院|法律|金融|保险|银行|教育|电商|客服|政务|农业|化工|编程|代码|数学|旅游|酒店|餐饮|物流|游戏|汽车|招聘|运维)|"
    r"\b(medical|medicine|healthcare|legal|law|finance|financial|insurance|banking|education|e-?commerce|"
    r"customer[- ](?:service|support)|support|coding|programming|math|travel|retail|logistics|hr|it support)\b|"
    r"([\u4e00-\u9fff]{2,6})(?:领域|行业|方向)",
    re.I,
)
_HOURS = re.compile(
    r"(?P<lead>(?:within|no longer than|not (?:longer|more) than|不能超过|别超过|under|less than|at most|no more than|max(?:imum)?|in under|in less than|in|up to|不超过|最多|控制在|限制在|限时|只有)\s*)?"
    r"(?P<number>NUM)\s*(?:个)?\s*(?P<unit>小时|钟头|分钟|hours?|hrs?|h|minutes?|mins?|min)(?![A-Za-z])\s*(?P<tail>之?内|以内|以下|左右)?",
    re.I,
)
_SMALL = re.compile(
    r"(?:小一?[点些]的?|最小的?|小)(?:的)?(?:语言)?模型|小模型|\b(?:small(?:est)?|tiny|little|mini)\s+(?:language\s+)?(?:model|llm|one)\b",
    re.I,
)
_HUB = re.compile(r"(?<![\w./@-])[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*(?![\w/])")
_FAMILY = re.compile(
    r"deepseek|深度求索|qwen|通义千问|千问|llama|羊驼|smollm\d?|mistral|gemma|phi|internlm|baichuan|chatglm|glm|yi(?=-|\s?\d)|gpt-?2|"
    r"pythia|tinyllama|minicpm|kimi|olmo|falcon",
    re.I,
)
_TAIL = re.compile(
    r"[\s\-_.]*(?:\d+(?:\.\d+)?\s?[bm](?![a-z])|[vr]\d+(?:\.\d+)?|\d+(?:\.\d+)?|llm|moe|lite|chat|base|instruct|coder|math|"
    r"distill(?:ed)?|qwen|llama|prover|vl|\d+x\d+b|对话版?|聊天版?|基座版?|蒸馏版?|代码|数学)",
    re.I,
)
_MACHINE = re.compile(
    r"(?<!\d)(?P<count>\d{1,4}|[一两二三四五六八十单双])?\s{0,2}(?:x|×|\*|块|张|卡|个|颗|台|路)?\s{0,2}(?:的)?\s{0,2}"
    r"(?P<vendor>nvidia|英伟达|rtx|geforce|tesla|amd|华为|昇腾|ascend)?\s{0,2}"
    r"(?P<name>(?:[ahblvptg]\d{1,4}[a-z]?|gh?b?200|rtx\s?\d{4}|a?6000(?:\s?ada)?|[234]0[5-9]0|50[5-9]0|titan\w*|mi\d{3}\w?|910\w?|m[1-4](?:\s?(?:pro|max|ultra))?)"
    r"(?:\s?(?:ti|super|d))?(?![a-z0-9]))"
    r"(?:[\s\-]{0,2}(?P<memory>\d{2,3})\s?gi?b?(?![a-z]))?"
    r"(?:\s{0,2}[x×*]\s{0,2}(?P<after>\d+)(?!\d)|\s{0,2}(?P<cards>\d+|[一两二三四五六八十单双])\s{0,2}[卡张块])?",
    re.I,
)
_COUNTS = {
    "单": 1,
    "一": 1,
    "双": 2,
    "两": 2,
    "二": 2,
    "三": 3,
    "四": 4,
    "五": 5,
    "六": 6,
    "八": 8,
    "十": 10,
}


def find_machine(words: str) -> tuple[str, tuple[int, int]] | None:
    """Return the machine in `words` in the form that `describe_machine` reads, and where it stands."""
    for match in _MACHINE.finditer(words):
        count = match["count"] or match["after"] or match["cards"] or ""
        number = _COUNTS.get(count) or (int(count) if count.isdigit() else 1)
        memory = f"-{match['memory']}G" if match["memory"] else ""
        spoken = match["name"]
        plural = spoken[:-1] if spoken[-1] in "sS" and spoken.lower() != "l40s" else spoken
        name = re.sub(r"\s+", " ", f"{_vendor(match['vendor'])}{plural}").strip()
        for written in (f"{number}x{name}{memory}", f"{number}x{plural}{memory}"):
            if 1 <= number <= 1024 and _is_machine(written):
                return written, match.span()
    return None


def _vendor(word: str | None) -> str:
    return "" if word is None or not word.isascii() else f"{word} "


@functools.lru_cache(maxsize=256)
def _is_machine(words: str) -> bool:
    try:
        return bool(parse_accelerators(words))
    except TutorError:
        return False


def find_model_name(words: str) -> tuple[str, tuple[int, int]] | None:
    """Return a model id or name in `words`, as the catalogue knows it, and where it stands."""
    for match in _HUB.finditer(words):
        if not re.search(r"\.(?:csv|tsv|jsonl?|parquet|log|txt|ya?ml|py)$", match[0], re.I):
            known = find_model(match[0])
            if known or re.search(
                r"\d+(?:\.\d+)?[bm]\b|chat|base|instruct|llm|gpt|bert", match[0], re.I
            ):
                return (known.id if known else match[0]), match.span()
    for start, end in _spans(words):
        model = find_model(words[start:end].strip())
        if model is not None:
            return model.id, (start, end)
    if match := _SMALL.search(words):
        return smallest_ready_model(), match.span()
    return None


def unclear_model(words: str) -> str | None:
    """Return words that name a family of models without saying which member."""
    if find_model_name(words) is not None:
        return None
    for match in _FAMILY.finditer(words):
        end = _extended(words, match.end())
        return words[match.start() : end].strip()
    return None


def _spans(words: str) -> Iterator[tuple[int, int]]:
    """Yield stretches that may be a model name, the longest first."""
    for match in _FAMILY.finditer(words):
        ends = [match.end()]
        while (tail := _TAIL.match(words, ends[-1])) and tail.end() > ends[-1]:
            ends.append(tail.end())
        for end in reversed(ends):
            yield match.start(), end


def _extended(words: str, end: int) -> int:
    while (tail := _TAIL.match(words, end)) and tail.end() > end:
        end = tail.end()
    return end


def smallest_ready_model() -> str:
    """Return the smallest model that comes without a hub: it can be tried at once on any machine."""
    models = [m for m in all_models() if m.wheel and m.facts.chat_template is not False]
    models = models or [m for m in all_models() if m.wheel] or list(all_models())
    return min(models, key=lambda model: model.facts.parameters.total).id


def find_task(words: str) -> Task | None:
    """Return the task in `words`."""
    tasks = [item.value for item in named_values(words) if item.field.path == "task"]
    return tasks[0] if tasks else None  # pyright: ignore[reportReturnType]


def find_skill(words: str) -> str | None:
    """Return the training skill in `words`."""
    skills = [item.value for item in named_values(words) if item.field.path == "skill"]
    return str(skills[0]) if skills else None


def find_wish(words: str) -> Wish | None:
    """Return what matters most, when the words say so."""
    return next((wish for wish, pattern in _WISHES if pattern.search(words)), None)


def find_domain(words: str) -> str | None:
    """Return the field of knowledge in `words`."""
    match = _DOMAINS.search(words)
    return next((group for group in match.groups() if group), None) if match else None


def find_hours(words: str) -> float | None:
    """Return the longest time the run may take, in hours; only when the words set a limit."""
    for figure in figures(words):
        stretch = (
            words[max(0, figure.start - 24) : figure.start]
            + "NUM"
            + words[figure.end : figure.end + 12]
        )
        match = _HOURS.search(stretch)
        if match and (
            match["lead"]
            or match["tail"]
            or re.search(r"跑完|训完|完成|搞定|结束|finish|done|limit", words, re.I)
        ):
            hours = (
                figure.value
                if match["unit"].lower().startswith(("h", "小", "钟"))
                else figure.value / 60
            )
            rest = re.match(r"\s*(?:个)?\s*半", words[figure.end :])
            return hours + 0.5 if rest and figure.value >= 1 else hours
    return None
