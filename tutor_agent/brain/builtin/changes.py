"""Changes of a plan in the person's words: "lr 调到 1e-5", "train 3 epochs", "别用 LoRA，用冻结"."""

from __future__ import annotations

import re
from dataclasses import dataclass
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
    r"[，；;。！!？?\n]|,(?!\d{3}\b)|(?<!\d)\.(?!\d)|\b(?:and then|and also|and|then|but)\b|并且|同时|然后|而是"
)
_NEGATED = re.compile(
    r"别再?用?|不要|不用|不想|不使用|不需要|不开|不做|关掉|关闭|关了|禁用|取消|去掉|停用|拿掉|"
    r"\b(?:no|not|don't|do not|dont|without|disable|turn off|switch off|remove|drop|instead of|stop using|never)\b",
    re.I,
)
_UP = re.compile(
    r"大一?[点些]|高一?[点些]|长一?[点些]|多一?[点些]|调[高大]|加[大高倍]|增[大加]|提[高升]|放大|翻倍|加倍|更[大高多长]|"
    r"\b(?:larger|bigger|higher|longer|more|increase|raise|double|up|greater)\b",
    re.I,
)
_DOWN = re.compile(
    r"小一?[点些]|低一?[点些]|短一?[点些]|少一?[点些]|调[低小]|降[低下]?|减[小少半]|缩[小短]|更[小低少短]|一半|"
    r"\b(?:smaller|lower|shorter|less|fewer|decrease|reduce|halve|half|cut|down)\b",
    re.I,
)
_TIMES = re.compile(r"^\s*(?:倍|x\b|×|times|fold)", re.I)
_DIVIDED = re.compile(r"除以|divided? by", re.I)
_MORE = re.compile(
    r"(?:再加|加上|增加|多|再|多训练|再训练|多跑|再跑|add|another|extra|increase by|plus)\s*$", re.I
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


@dataclass(frozen=True)
class _Clause:
    words: str
    negated: bool
    numbers: tuple[Figure, ...]


def find_changes(words: str) -> tuple[Entry, ...]:
    """Return the plan changes that `words` ask for, each field once, the last word winning."""
    found: dict[str, Entry] = {}
    for clause in _clauses(words):
        used: set[Figure] = set()
        entries = [
            *_chosen(clause),
            *_with_units(clause, used),
            *_numbers(clause, used),
            *_switched(clause),
        ]
        found.update({entry.path: entry for entry in entries})
    return tuple(found.values())


def _clauses(words: str) -> list[_Clause]:
    pieces = [piece for piece in _CLAUSE.split(words) if piece and piece.strip()]
    return [_Clause(p, bool(_NEGATED.search(p)), tuple(figures(p))) for p in pieces]


def _chosen(clause: _Clause) -> list[Entry]:
    """Values that name their field: `bf16`, `cosine`, `LoRA`."""
    named = named_fields(clause.words)
    covered = [(item.start, item.end) for item in named if item.field.kind != "choice"]
    entries: list[Entry] = []
    for item in named_values(clause.words):
        inside = any(start <= item.start and item.end <= end for start, end in covered)
        if inside or item.field.path == "task":
            continue
        value = item.value
        if _is_negated(clause.words, item):
            value = item.field.off
            if value is None or value == item.value:
                continue
        entries.append(Entry(path=item.field.path, value=value))
    return entries


def _is_negated(words: str, item: Named) -> bool:
    return any(
        m.end() <= item.start and item.start - m.end() < 14 for m in _NEGATED.finditer(words)
    )


def _with_units(clause: _Clause, used: set[Figure]) -> list[Entry]:
    """Numbers whose unit names the field: `3 epochs`, `20 步`, `只用 500 条`."""
    entries: list[Entry] = []
    for figure in clause.numbers:
        before, after = clause.words[: figure.start], clause.words[figure.end :]
        if _ORDINAL.search(before) or clause.negated:
            continue
        more = _MORE_AFTER.match(after)
        field = _unit_field(after[more.end() :] if more else after)
        if field is None or not _unit_applies(field, clause.words):
            continue
        used.add(figure)
        adds = bool(more or _MORE.search(before))
        value = _typed(field, figure)
        if _LESS.search(before) and isinstance(value, int | float):
            entries.append(Entry(path=field.path, op="add", value=-value))
        else:
            entries.append(Entry(path=field.path, op="add" if adds else "set", value=value))
    return entries


def _unit_field(after: str) -> Field | None:
    for field in fields().values():
        if field.units and re.match(
            r"\s*-?\s*(?:" + any_of(field.units).pattern + ")", after, re.I
        ):
            return field
    return None


def _unit_applies(field: Field, words: str) -> bool:
    """A count of rows is a limit only when it is said to be one; of GPUs, when they are to be used."""
    if field.path == "data.limit":
        return bool(_LIMITING.search(words))
    if field.path.startswith("launch."):
        return bool(_USING.search(words) or _LIMITING.search(words))
    return True


def _numbers(clause: _Clause, used: set[Figure]) -> list[Entry]:
    """Numeric fields with their number, or with a direction."""
    entries: list[Entry] = []
    named = [item for item in named_fields(clause.words) if item.field.kind in _NUMERIC]
    for index, item in enumerate(named):
        stop = named[index + 1].start if index + 1 < len(named) else len(clause.words)
        if any(f.start <= item.start <= f.end + 1 for f in used):
            continue
        figure = _figure_for(clause, item, stop, used)
        entry = (
            _numbered(clause.words[item.end : stop], clause, item.field, figure)
            if figure
            else _directed(clause.words, item, stop)
        )
        if figure:
            used.add(figure)
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


def _numbered(gap: str, clause: _Clause, field: Field, figure: Figure) -> Entry | None:
    before, after = clause.words[: figure.start], clause.words[figure.end :]
    if _TIMES.match(after) or _DIVIDED.search(gap):
        shrinks = _DIVIDED.search(gap) or _DOWN.search(clause.words)
        factor = 1 / figure.value if shrinks and figure.value else figure.value
        return Entry(path=field.path, op="multiply", value=factor)
    if figure.percent and field.kind != "share" and field.path != "optim.warmup":
        sign = -1 if _DOWN.search(gap) else 1
        return Entry(path=field.path, op="multiply", value=1 + sign * figure.value)
    if re.search(r"(?:增加|加上|再加|increase by|add)\s*$", before, re.I):
        return Entry(path=field.path, op="add", value=_typed(field, figure))
    if figure.value == 0.5 and field.kind == "count":
        return Entry(path=field.path, op="multiply", value=0.5)
    if _NEGATED.search(gap) and not re.search(r"超过|more than|over|above|大于", gap, re.I):
        return None
    return Entry(path=field.path, value=_typed(field, figure))


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
    for item in named_fields(clause.words):
        if item.field.kind != "switch" and not (item.field.kind == "choice" and item.field.on):
            continue
        nearby = clause.words[max(0, item.start - 16) : item.end + 12]
        if _NEGATED.search(nearby) or re.search(r"\boff\b|\bfalse\b|关", nearby, re.I):
            entries.append(Entry(path=item.field.path, value=item.field.off))
        elif _ON.search(nearby) or re.search(r"\bon\b|\btrue\b", nearby, re.I):
            entries.append(Entry(path=item.field.path, value=item.field.on))
    return entries


def _typed(field: Field, figure: Figure) -> JsonValue:
    value = figure.value
    if field.path == "data.max_length" and figure.kilo:
        return round(value / 1000 * 1024)
    if field.kind == "share" and value > 1:
        return value / 100
    if field.kind == "count":
        return round(value)
    return value
