"""Changes of a plan in the person's words: "lr 调到 1e-5", "train 3 epochs", "别用 LoRA，用冻结"."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from tutor_agent.brain.builtin.fields import (
    Field,
    Named,
    any_of,
    fields,
    named_fields,
    named_values,
)
from tutor_agent.brain.builtin.numbers import Figure, figures
from tutor_agent.core.changes import Entry

if TYPE_CHECKING:
    from pydantic import JsonValue

_CLAUSE = re.compile(
    r"[，；;。！!？?\n]|,(?!\d{3}\b)|(?<!\d)\.(?![\dA-Za-z])|\b(?:and then|and also|and|then|but)\b|并且|同时|然后|而是"
)
_NEGATED = re.compile(
    r"别再?用?|不要|不用|不想|不使用|不需要|不开|不做|关掉|关闭|关了|禁用|取消|去掉|停用|拿掉|"
    r"\b(?:no|not|don't|do not|dont|without|disable|turn off|switch off|remove|drop|instead of|stop using|never)\b|\boff\s*$",
    re.I,
)
_UP = re.compile(
    r"大一?[点些]|高一?[点些]|长一?[点些]|多一?[点些]|调[高大]|加[大高倍]|增[大加]|提[高升]|放大|翻倍|加倍|更[大高多长]|"
    r"\b(?:larger|bigger|higher|longer|more|increase|raise|double|up|greater)\b",
    re.I,
)
_DOWN = re.compile(
    r"小一?[点些]|[小低少短](?=\s*[\d一二两三四五六七八九十百]+\s*倍)|低一?[点些]|短一?[点些]|少一?[点些]|调[低小]|降[低下]?|减[小少半]|缩[小短]|更[小低少短]|一半|"
    r"\b(?:smaller|lower|shorter|less|fewer|decrease|reduce|halve|half|cut|down)\b",
    re.I,
)
_TIMES = re.compile(r"^\s*(?:倍|x\b|×|times|fold)", re.I)
_DIVIDED = re.compile(r"除以|/\s*$|divided? by", re.I)
_MULTIPLIED = re.compile(r"乘以?|[*×]\s*$|multipl\w* by|\btimes\b", re.I)
_MORE = re.compile(
    r"(?:再加|加上|增加|(?<!最)多|再|多训练|再训练|多跑|再跑|add|another|extra|increase by|plus)\s*$",
    re.I,
)
_MORE_AFTER = re.compile(r"^\s*(?:more|extra|additional)\b", re.I)
_LESS = re.compile(r"(?:减少|少|减去|fewer|reduce by|minus)\s*$", re.I)
_ORDINAL = re.compile(r"(?:第|\bsteps?|\bat|\bepoch)\s*$", re.I)
_LIMITING = re.compile(
    r"只|仅|先用|前\s*$|前\d|最多|限制|上限|抽|\b(?:only|first|just|limit|at most|subset|sample of|no more than)\b",
    re.I,
)
_USING = re.compile(r"用|在|\b(?:use|using|on|with|run on)\b", re.I)
_NEAR = 28


_COUNTED = frozenset(
    {"optim.warmup", "evaluation.every", "evaluation.early_stopping", "optim.accumulate"}
)
_JUDGING = re.compile(
    r"评估|评测|验证|保?存|\b(?:evaluat\w*|eval|validat\w*|save|checkpoint)\b", re.I
)
_LAST = re.compile(r"最后|末尾|顶|最上|后\d|解冻|\b(?:last|top|final|unfreeze|upper)\b", re.I)


@dataclasses.dataclass
class _Marks:
    """What of a clause is already understood."""

    figures: set[Figure] = dataclasses.field(default_factory=set[Figure])
    spans: list[tuple[int, int]] = dataclasses.field(default_factory=list[tuple[int, int]])


@dataclasses.dataclass(frozen=True)
class _Clause:
    words: str
    negated: bool
    numbers: tuple[Figure, ...]
    listed: bool = False
    """Whether there are other clauses beside it."""


def find_changes(words: str) -> tuple[Entry, ...]:
    """Return the plan changes that `words` ask for, each field once, the last word winning."""
    found: dict[str, Entry] = {entry.path: entry for entry in _listed(words)}
    topic: Named | None = None
    for clause in _clauses(words):
        marks = _Marks()
        entries = [
            *_chosen(clause),
            *_with_units(clause, marks),
            *_numbers(clause, marks),
            *_switched(clause),
        ]
        entries = entries or _said_after(clause, topic)
        topic = next((n for n in named_fields(clause.words) if n.field.kind in _NUMERIC), topic)
        found.update({entry.path: entry for entry in entries})
    return tuple(found.values())


def _said_after(clause: _Clause, topic: Named | None) -> list[Entry]:
    """`学习率高了，调低`: the field was named in the clause before."""
    if topic is None or named_fields(clause.words) or named_values(clause.words) or clause.negated:
        return []
    if clause.numbers and not _SETTING.search(clause.words):
        return []
    if clause.numbers:
        return [Entry(path=topic.field.path, value=_typed(topic.field, clause.numbers[-1]))]
    if re.search(
        r"调|改|降|减|提|加|lower|raise|reduce|increase|decrease|make it|turn it",
        clause.words,
        re.I,
    ):
        down = _DOWN.search(clause.words)
        up = _UP.search(clause.words)
        if down or up:
            return [Entry(path=topic.field.path, op="multiply", value=0.5 if down else 2)]
    return []


_SETTING = re.compile(r"改|调|设|换|降|升|到|成|为|\b(?:set|make|change|use|to)\b", re.I)


def _clauses(words: str) -> list[_Clause]:
    pieces = [piece for piece in _CLAUSE.split(words) if piece and piece.strip()]
    listed = len(pieces) > 1
    return [_Clause(p, bool(_NEGATED.search(p)), tuple(figures(p)), listed) for p in pieces]


def _chosen(clause: _Clause) -> list[Entry]:
    """Values that name their field: `bf16`, `cosine`, `LoRA`."""
    named = named_fields(clause.words)
    covered = [(item.start, item.end) for item in named if item.field.kind != "choice"]
    entries: list[Entry] = []
    for item in named_values(clause.words):
        inside = any(start <= item.start and item.end <= end for start, end in covered)
        if inside or item.field.path == "task" or item.field.kind == "list":
            continue
        value = item.value
        if _is_negated(clause.words, item):
            value = item.field.off
            if value is None or value == item.value:
                continue
        entries.append(Entry(path=item.field.path, value=value))
    return entries


def _listed(words: str) -> list[Entry]:
    """Fields that hold several values: those named without a "no" make the list, wherever in the sentence."""
    said: dict[str, list[JsonValue]] = {}
    for item in named_values(words):
        field = item.field
        if field.kind != "list" or not re.search(field.when, words, re.IGNORECASE):
            continue
        values = said.setdefault(field.path, [])
        if not _is_negated(words, item) and item.value not in values:
            values.append(item.value)
    emptied = [item for item in named_fields(words) if item.field.path == "trackers"]
    if emptied and any(_is_negated(words, item) for item in emptied):
        said.setdefault("trackers", [])
    return [
        Entry(path=path, value=values)
        for path, values in said.items()
        if values or path != _NEVER_EMPTY
    ]


_NEVER_EMPTY = "evaluation.metrics"


def _is_negated(words: str, item: Named) -> bool:
    return any(
        m.end() <= item.start and item.start - m.end() < 14 for m in _NEGATED.finditer(words)
    )


def _with_units(clause: _Clause, marks: _Marks) -> list[Entry]:
    """Numbers whose unit names the field: `3 epochs`, `20 步`, `只用 500 条`."""
    entries: list[Entry] = []
    for figure in clause.numbers:
        before, after = clause.words[: figure.start], clause.words[figure.end :]
        if _ORDINAL.search(before) or clause.negated or _belongs_to_a_field(clause.words, figure):
            continue
        unit = _unit_after(after)
        if unit is None:
            continue
        field, length, more = unit
        field = _written(field, clause.words)
        if not _unit_applies(field, clause.words):
            continue
        marks.figures.add(figure)
        marks.spans.append((figure.start, figure.end + length))
        entries.append(_counted(_interval(field, clause.words, before), figure, before, more=more))
    return entries


def _counted(field: Field, figure: Figure, before: str, *, more: bool) -> Entry:
    value = _typed(field, figure)
    if _LESS.search(before) and isinstance(value, int | float):
        return Entry(path=field.path, op="add", value=-value)
    op = "add" if more or _MORE.search(before) else "set"
    return Entry(path=field.path, op=op, value=value)


def _belongs_to_a_field(words: str, figure: Figure) -> bool:
    """Whether the number follows a field that is itself counted in steps or passes: `预热 100 步`."""
    return any(
        item.field.path in _COUNTED and 0 <= figure.start - item.end <= 8
        for item in named_fields(words)
    )


def _interval(field: Field, words: str, before: str) -> Field:
    """`每 50 步评估` names the interval of evaluation, not the length of the run."""
    every = re.search(r"(?:每隔?|every)\s*$", before, re.I)
    if field.path == "optim.max_steps" and every and _JUDGING.search(words):
        return fields()["evaluation.every"]
    return field


def _written(field: Field, words: str) -> Field:
    """`生成 64 条来评估` counts answers that are written, not rows that are read."""
    if field.path in {"data.limit", "evaluation.generated_rows"} and _WRITING.search(words):
        return fields()[
            "evaluation.samples" if _SHOWING.search(words) else "evaluation.generated_rows"
        ]
    return field


_WRITING = re.compile(r"生成|写出|\b(?:generat\w+|written|write)\b", re.I)
_SHOWING = re.compile(r"示例|样例|例子|对比|side by side|\bexamples?\b|\bsamples?\b", re.I)


def _unit_after(after: str) -> tuple[Field, int, bool] | None:
    """Return the field whose unit comes next, the length up to the unit's end, and whether `more` came between."""
    more = _MORE_AFTER.match(after)
    start = more.end() if more else 0
    for field in fields().values():
        if not field.units:
            continue
        match = re.match(r"\s*-?\s*(?:" + any_of(field.units).pattern + ")", after[start:], re.I)
        if match:
            return field, start + match.end(), bool(more)
    return None


def _unit_applies(field: Field, words: str) -> bool:
    """A count of rows is a limit only when it is said to be one; of GPUs, when they are to be used."""
    if field.path == "data.limit":
        return bool(_LIMITING.search(words))
    if field.path == "evaluation.generated_rows":
        return bool(_WRITING.search(words))
    if field.path == "params.train_last":
        return bool(_LAST.search(words))
    if field.path.startswith("launch."):
        return bool(_USING.search(words) or _LIMITING.search(words))
    return True


def _numbers(clause: _Clause, marks: _Marks) -> list[Entry]:
    """Numeric fields with their number, or with a direction."""
    entries: list[Entry] = []
    named = [item for item in named_fields(clause.words) if item.field.kind in _NUMERIC]
    for index, item in enumerate(named):
        stop = named[index + 1].start if index + 1 < len(named) else len(clause.words)
        if any(start <= item.start < end for start, end in marks.spans):
            continue
        figure = _figure_for(clause, item, stop, marks.figures)
        entry = _numbered(clause, item, figure) if figure else _directed(clause.words, item, stop)
        if figure:
            marks.figures.add(figure)
        if entry:
            entries.append(entry)
    return entries


_NUMERIC = ("number", "count", "share")


def _figure_for(clause: _Clause, item: Named, stop: int, used: set[Figure]) -> Figure | None:
    free = [f for f in clause.numbers if f not in used]
    after = [f for f in free if item.end <= f.start < stop and f.start - item.end <= _NEAR]
    if after:
        moved = re.search(r"从|\bfrom\b", clause.words[item.end : after[0].start], re.I)
        return after[-1] if moved else after[0]
    before = [f for f in free if 0 <= item.start - f.end <= 4]
    return before[-1] if before else None


def _numbered(clause: _Clause, item: Named, figure: Figure) -> Entry | None:
    path, words = item.field.path, clause.words
    between, after = words[item.end : figure.start], words[figure.end :]
    factor = _factor(item.field, figure, between, after, words)
    if factor is not None:
        return Entry(path=path, op="multiply", value=factor)
    if re.search(r"(?:加|加上|增加|increase by|add|plus|\+)\s*$", words[: figure.start], re.I):
        return Entry(path=path, op="add", value=_typed(item.field, figure))
    if _NEGATED.search(between) and not re.search(r"超过|more than|over|above|大于", between, re.I):
        return None
    return Entry(path=path, value=_typed(item.field, figure))


def _factor(field: Field, figure: Figure, between: str, after: str, words: str) -> float | None:
    """Return what the field is multiplied by, when the number is a factor, a share or a half."""
    value, divided = figure.value, _DIVIDED.search(between)
    if value == 1 and re.search(r"翻$", between.strip()) and _TIMES.match(after):
        return 2.0
    if divided or _MULTIPLIED.search(between) or _TIMES.match(after):
        return 1 / value if value and (divided or _DOWN.search(words)) else value
    if figure.percent and field.kind != "share" and field.path != "optim.warmup":
        return 1 - value if _DOWN.search(words) else 1 + value
    halves = words[figure.start : figure.end].lower() in {"half", "半"}
    return 0.5 if halves and field.path != "optim.epochs" else None


def _directed(words: str, item: Named, stop: int) -> Entry | None:
    nearby = words[max(0, item.start - 12) : stop]
    off = _NEGATED.search(words[max(0, item.start - 14) : stop])
    if off and item.field.path in _CAN_BE_OFF:
        return Entry(path=item.field.path, value=item.field.off)
    if off:
        return None
    if _DOWN.search(nearby):
        return Entry(path=item.field.path, op="multiply", value=0.5)
    if _UP.search(nearby):
        return Entry(path=item.field.path, op="multiply", value=2)
    if item.field.on is not None and _ON.search(nearby):
        return Entry(path=item.field.path, value=item.field.on)
    return None


_CAN_BE_OFF = frozenset(
    {
        "optim.max_grad_norm",
        "optim.warmup",
        "optim.weight_decay",
        "params.dropout",
        "evaluation.early_stopping",
        "optim.max_steps",
        "data.limit",
    }
)
_ON = re.compile(
    r"开|启用|用|加上?|做|\b(?:enable|turn on|switch on|use|add|with|activate|set|want)\b", re.I
)


def _switched(clause: _Clause) -> list[Entry]:
    """Fields that are on or off, and choosing fields that have an `on`."""
    entries: list[Entry] = []
    valued = {item.field.path for item in named_values(clause.words)}
    for item in named_fields(clause.words):
        if item.field.path in valued or not _has_switch(item.field):
            continue
        nearby = clause.words[max(0, item.start - 16) : item.end + 12]
        if _NEGATED.search(nearby) or re.search(r"\boff\b|\bfalse\b|关", nearby, re.I):
            entries.append(Entry(path=item.field.path, value=item.field.off))
        elif _ON.search(nearby) or _MADE.search(nearby) or _is_all(clause, item):
            entries.append(Entry(path=item.field.path, value=item.field.on))
    return entries


_MADE = re.compile(r"[设改换变][为成]|保证|要求|\b(?:on|true|make|keep|be|must)\b", re.I)


def _is_all(clause: _Clause, item: Named) -> bool:
    """`LoRA on my rows, reproducible`: a switch that is a clause by itself, among others."""
    return clause.listed and clause.words.strip() == clause.words[item.start : item.end]


def _has_switch(field: Field) -> bool:
    return field.kind == "switch" or (field.kind == "choice" and bool(field.on))


def _typed(field: Field, figure: Figure) -> JsonValue:
    value = figure.value
    if field.path == "data.max_length" and figure.kilo:
        return round(value / 1000 * 1024)
    if field.kind == "share" and value > 1:
        return value / 100
    if field.kind == "count":
        return round(value)
    return value
