"""The event log: the only contract between a training process and the tutor.

One JSON object a line, at most 4 KiB, one `write` each. After a resume steps go back: readers cut
the curve at the first step of the new attempt. Non-finite numbers are the strings "nan", "inf" and
"-inf", since JSON has no word for them.

Payloads by kind:

    run_started  world_size, device, dtype, total_steps, total_tokens_per_epoch, versions, resumed_from, vocabulary
    audit        trainable, total, modules, dtypes, lora_targets, supervised_tokens, total_tokens, masked_rows, rows,
                 eos_supervised, problems, data_sha256, repeated_rows, damaged_rows, shared_rows (also held out, and
                 left out here), foreign_markers (of the template, no tokens of the model)
    step         loss, grad_norm, learning_rate, epoch, tokens, tokens_per_second, memory_gib, seconds, data_seconds (the
                 wait for data before it), batch (checksum of rank 0's rows: the same batch has the same one)
    evaluation   split (validation | test), phase (before | during | after), loss, perplexity, and metrics by name
                 (core/metric_names.py); on the test rows also answered (how many answers were written) and
                 classes (precision, recall, f1 and rows of each class by name)
    checkpoint   path (relative to the run folder), good, seconds, bytes, drilled (read back and compared bit for bit)
    sample       phase (before | after), prompt, answer, reference
    heartbeat    rank, memory_gib
    halted       reason (non_finite_loss | non_finite_gradient | diverged | disk_full | stop_requested | slug of a
                 fault), text_en, text_zh, scene, last_good, damaged_weights (tensors that are not finite themselves),
                 broke_in (module, kind and dtype of the first output that is not finite)
    note         text_en, text_zh
    run_ended    state (completed | halted | stopped | failed), reason, text_en, text_zh, best_step, best_loss, result
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Literal, cast

from pydantic import JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.storage import append_line

if TYPE_CHECKING:
    from pathlib import Path

Kind = Literal[
    "run_started",
    "audit",
    "step",
    "evaluation",
    "checkpoint",
    "sample",
    "heartbeat",
    "halted",
    "note",
    "run_ended",
]

VERSION = 1
MAX_BYTES = 4096
_ENVELOPE = ("v", "run", "attempt", "seq", "t", "step", "kind")
_WORDS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Event(Contract):
    """One line of `events.jsonl`."""

    v: int = VERSION
    """Version of the format."""
    run: str
    """Name of the run folder."""
    attempt: int
    """0 for the first start, one more for every resume."""
    seq: int
    """Counts up inside an attempt."""
    t: float
    """Unix time in seconds."""
    step: int
    """Optimizer steps done."""
    kind: Kind
    """What happened."""
    payload: dict[str, JsonValue] = {}
    """The figures, by kind (see the module)."""

    def number(self, key: str) -> float | None:
        """Return a payload figure as float (NaN and infinities included), None when it is absent."""
        value = self.payload.get(key)
        if isinstance(value, str):
            return _WORDS.get(value)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return float(value)
        return None

    def line(self) -> str:
        """Return the event as one line of JSON, cut to 4 KiB by shortening its longest texts."""
        payload = {key: _encodable(value) for key, value in self.payload.items()}
        head = {key: getattr(self, key) for key in _ENVELOPE}
        line = _dump({**head, **payload})
        while len(line.encode()) >= MAX_BYTES:
            key = max(payload, key=lambda name: len(_dump(payload[name])))
            shorter = _halve(payload[key])
            if shorter is None or shorter == payload[key]:
                del payload[key]
            else:
                payload[key] = shorter
            line = _dump({**head, **payload})
        return line


def parse_event(line: str) -> Event | None:
    """Read one line; None for a line that is cut, empty or of another program."""
    try:
        data = json.loads(line)
    except ValueError:
        return None
    if not isinstance(data, dict) or not all(key in data for key in _ENVELOPE):
        return None
    head = {key: data.pop(key) for key in _ENVELOPE}  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    try:
        return Event.model_validate({**head, "payload": data})
    except ValueError:
        return None


def append_event(path: Path, event: Event, *, sync: bool = False) -> None:
    """Append `event` to the log at `path`; `sync` forces it to disk (state changes only)."""
    append_line(path, event.line(), sync=sync)


def _dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _encodable(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return "nan" if math.isnan(value) else ("inf" if value > 0 else "-inf")
    if isinstance(value, dict):
        return {k: _encodable(v) for k, v in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_encodable(v) for v in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def _halve(value: Any) -> Any:
    if isinstance(value, str) and len(value) > 1:
        return value[: len(value) // 2] + "…" if len(value) > 3 else ""
    if isinstance(value, list):
        items = cast("list[Any]", value)
        return items[: len(items) // 2]
    if isinstance(value, dict):
        pairs = list(cast("dict[str, Any]", value).items())
        return dict(pairs[: len(pairs) // 2])
    return None
