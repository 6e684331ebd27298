"""Text, log files, trainer_state.json and run folders become observations."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.events import Event, parse_event
from tutor_agent.core.plan import Plan
from tutor_agent.diagnose.observations import Observations
from tutor_agent.diagnose.readers import tensorboard
from tutor_agent.diagnose.readers.events import read_run_events
from tutor_agent.diagnose.readers.folders import EVENTS, METRICS, STATE, names_of, runs_in
from tutor_agent.diagnose.readers.lines import clean_lines, ranked_lines
from tutor_agent.diagnose.readers.metrics import MetricReader
from tutor_agent.diagnose.readers.names import canonical
from tutor_agent.diagnose.readers.settings import flags_in, phase_of, versions_in
from tutor_agent.diagnose.readers.stream import text_of

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.diagnose.readers.folders import RunFiles

_KEPT_LINES = 4000
_END = 60
_FLAT_OBJECT = re.compile(r"\{[^{}]{1,4000}\}")
_ENDED = re.compile(
    r"train_runtime['\"]?\s*[:=]|Training (?:completed|finished|complete)\b|End time of running|训练(?:已?完成|结束)"
)


def read_text(words: str) -> Observations:
    """Read pasted text: a log, a traceback, a sentence, or a mixture."""
    ranked = ranked_lines(words)
    lines = [line for _, line in ranked]
    events = [event for event in map(parse_event, _json_lines(lines)) if event is not None]
    if events:
        return _with_lines(read_run_events(events), _without_events(lines))
    state = _trainer_state(words)
    if state is not None:
        return state
    reader = MetricReader()
    rest = [line for rank, line in ranked if not reader.feed(line, rank)]
    seen = Observations(series=reader.series, metric_lines=len(lines) - len(rest))
    return _with_lines(seen, lines)


def read_path(path: Path) -> Observations:
    """Read a log file, a trainer_state.json, or a folder that holds a run.

    Raises:
        NotFoundError: Nothing is there, or the folder holds no log.
        UnreadableError: The file cannot be opened.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        raise NotFoundError(
            f"No log at {str(path)!r}. Give a log file, a run folder, or `-` for standard input.",
            f"{str(path)!r} 处没有日志。请给出日志文件、运行文件夹，或用 `-` 从标准输入读取。",
        )
    if tensorboard.is_event_file(path):
        return _read_tensorboard([path])
    return read_text(text_of(path))


def _read_tensorboard(paths: list[Path]) -> Observations:
    reader = MetricReader()
    for path in paths:
        try:
            tensorboard.feed_events(path, reader)
        except OSError:
            continue
    return Observations(series=reader.series, phase="train", metric_lines=len(reader.series))


def _read_folder(folder: Path) -> Observations:
    """Read the newest run of a folder: its metrics from whatever tells most of them, and its logs."""
    runs = runs_in(folder)
    if not runs:
        raise NotFoundError(
            f"The folder {str(folder)!r} holds no log: looked for {', '.join((*METRICS, STATE))}, *.log, *.out, *.err, event "
            "files of TensorBoard. Give the log file itself.",
            f"文件夹 {str(folder)!r} 里没有日志（找过 {'、'.join((*METRICS, STATE))}、*.log、*.out、*.err、TensorBoard 事件文件）。"
            "请直接给出日志文件。",
        )
    return read_run(runs[0])


def read_run(run: RunFiles) -> Observations:
    """Read everything that one run has written.

    Raises:
        UnreadableError: A file cannot be opened.
    """
    seen = Observations()
    for source in run.metrics:
        seen = _read_metrics(source)
    for path in run.states[-1:]:
        seen = _merged(seen, read_text(text_of(path)))
    for log in _logs_of_one_run(run):
        seen = _merged(seen, log)
    return _merged(seen, _read_tensorboard(run.boards)) if run.boards else seen


def _logs_of_one_run(run: RunFiles) -> list[Observations]:
    """Read the logs, without an earlier one that holds a curve of its own and is no other rank's."""
    read = [(names_of(path), read_text(text_of(path))) for path in run.logs]
    curve = next((name for name, log in reversed(read) if log.metric("loss")), None)
    return [log for name, log in read if name == curve or not log.metric("loss")]


def _read_metrics(source: Path) -> Observations:
    plan = source.with_name("plan.yaml")
    if source.name != EVENTS or not plan.is_file():
        return read_text(text_of(source))
    events = [e for e in map(parse_event, _json_lines(clean_lines(text_of(source)))) if e]
    return read_run_events(events, Plan.load(plan))


def _merged(seen: Observations, other: Observations) -> Observations:
    """Join what two files tell of one run; a metric is taken from the file that holds most points of it."""
    for name, series in other.series.items():
        if len(series) > len(seen.metric(name)):
            seen.series[name] = series
    seen.config = {**other.config, **seen.config}
    seen.metric_lines = max(seen.metric_lines, other.metric_lines)
    seen.finished = seen.finished or other.finished
    return _with_lines(seen, [*seen.lines, *other.lines])


def _with_lines(seen: Observations, lines: list[str]) -> Observations:
    kept = lines if len(lines) <= _KEPT_LINES else [*lines[:500], *lines[-(_KEPT_LINES - 500) :]]
    seen.lines = tuple(kept)
    seen.config = {**flags_in(kept), **seen.config}
    seen.versions = {**versions_in(kept), **seen.versions}
    seen.phase = phase_of(seen.lines) or seen.phase
    seen.finished = seen.finished or any(_ENDED.search(line) for line in kept[-_END:])
    return seen


def _json_lines(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith("{") and '"kind"' in line]


def _without_events(lines: list[str]) -> list[str]:
    return [line for line in lines if not (line.startswith("{") and '"kind"' in line)]


def _trainer_state(words: str) -> Observations | None:
    """Read the history of a trainer_state.json; None when `words` is something else."""
    if '"log_history"' not in words:
        return None
    reader = MetricReader()
    finished = False
    for entry in _history(words):
        if "train_runtime" in entry:
            finished = True
        else:
            reader.add_point(_entry_metrics(entry))
    return Observations(
        series=reader.series,
        phase="train",
        metric_lines=len(reader.series),
        finished=finished or _at_its_end(words),
    )


def _at_its_end(words: str) -> bool:
    """Whether a state was saved at the last step."""
    found = {key: re.search(rf'"{key}": (\d+)', words) for key in ("global_step", "max_steps")}
    done, asked = (int(match[1]) if match else 0 for match in found.values())
    return done >= asked > 0


def _history(words: str) -> list[dict[str, Any]]:
    """Return the entries of a state; of a cut or damaged one those that are whole."""
    try:
        state: Any = json.loads(words)
        entries: Any = (
            cast("dict[str, Any]", state).get("log_history") if isinstance(state, dict) else []
        )
    except (ValueError, RecursionError):
        entries = [_object(match[0]) for match in _FLAT_OBJECT.finditer(words)]
    kept = cast("list[Any]", entries if isinstance(entries, list) else [])
    return [cast("dict[str, Any]", entry) for entry in kept if isinstance(entry, dict)]


def _object(words: str) -> Any:
    try:
        return json.loads(words)
    except (ValueError, RecursionError):
        return None


def _entry_metrics(entry: dict[str, Any]) -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in entry.items():
        name = canonical(key)
        try:
            if name is not None and not isinstance(value, bool):
                found.setdefault(name, float(value))
        except (TypeError, ValueError):
            continue
    return found


def events_of(path: Path) -> list[Event]:
    """Return the events of an events.jsonl; cut lines are left out."""
    return [e for e in map(parse_event, text_of(path).splitlines()) if e is not None]
