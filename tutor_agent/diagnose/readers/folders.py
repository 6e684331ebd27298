"""What a folder holds: which files tell of a run, and of which run when there are several.

A tool spreads one run over folders of its own: checkpoints, TensorBoard, a log of every rank. Those belong to
the folder above them. Logs whose names differ by a number alone are attempts, of which the newest counts,
unless the number is that of a rank.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.diagnose.readers import tensorboard

if TYPE_CHECKING:
    from collections.abc import Iterator

EVENTS, STATE = "events.jsonl", "trainer_state.json"
METRICS = (EVENTS, "trainer_log.jsonl", "logging.jsonl", "metrics.jsonl", "metrics.csv")
_LOG = re.compile(r".+\.(?:log|out|err)|(?:log|output|train|nohup)\.(?:txt|out)", re.IGNORECASE)
_OF_ANOTHER = re.compile(r"(?:npm|pip|install|setup|build|debug)\b.*\.log", re.IGNORECASE)
_INNER = re.compile(
    r"checkpoint-\d+|global_step\d+|logs?|runs|tensorboard|tb|wandb|(?:offline-)?run-\d+_\w+-\w+|files|"
    r"[A-Z][a-z]{2}\d\d_\d\d-\d\d-\d\d_.*"
)
_ATTEMPT = re.compile(r"attempt[-_]\d+")
_RANK = re.compile(r"(?:rank|worker|node|gpu|proc(?:ess)?|std(?:out|err))[-_.]?\d*", re.IGNORECASE)
_DEEPEST, _MOST_ENTRIES, _MOST_LOGS = 5, 20_000, 16


@dataclass
class RunFiles:
    """The files that tell of one run, each kind oldest first."""

    home: Path
    metrics: list[Path] = field(default_factory=list[Path])
    states: list[Path] = field(default_factory=list[Path])
    logs: list[Path] = field(default_factory=list[Path])
    boards: list[Path] = field(default_factory=list[Path])

    @property
    def all(self) -> list[Path]:
        """Every file that is worth reading."""
        return [*self.metrics, *self.states[-1:], *self.logs, *self.boards]

    @property
    def changed(self) -> float:
        """When it was last written to, in seconds."""
        return max(map(_modified, self.all), default=0.0)


def runs_in(folder: Path) -> list[RunFiles]:
    """Return the runs that left files in or below `folder`, the newest first."""
    found: dict[Path, RunFiles] = {}
    for path in _telling(folder):
        home = _home_of(path, folder)
        _put(found.setdefault(home, RunFiles(home)), path)
    own = found.get(folder)
    if own is not None and len(found) == 2:
        (other,) = (run for run in found.values() if run is not own)
        found = {folder: _joined(own, other)}
    runs = [_latest(run) for run in found.values()]
    return sorted(runs, key=lambda run: -run.changed)


def _telling(folder: Path) -> Iterator[Path]:
    """Yield the files of metrics and text at most five folders down."""
    left = _MOST_ENTRIES
    for place, folders, files in os.walk(folder):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(n for n in folders if not n.startswith(".")) if depth < _DEEPEST else []
        left -= len(files) + len(folders)
        if left < 0:
            return
        for name in sorted(files):
            if _tells(name):
                yield Path(place) / name


def _tells(name: str) -> bool:
    if name in METRICS or name == STATE or ".tfevents." in name:
        return True
    return _LOG.fullmatch(name) is not None and _OF_ANOTHER.match(name) is None


def _home_of(path: Path, top: Path) -> Path:
    """Return the folder of the run: above its inner folders, and above those that torchrun makes for its ranks."""
    if path.parent == top and _tells_of_output(path):
        return path.with_suffix("")
    parts = list(path.parent.relative_to(top).parts)
    for place, part in enumerate(parts):
        if _ATTEMPT.fullmatch(part):
            parts = parts[: max(0, place - 1)]
            break
    while parts and _INNER.fullmatch(parts[-1]):
        parts.pop()
    return top.joinpath(*parts)


def _tells_of_output(path: Path) -> bool:
    """Whether `exp.log` lies beside the output folder `exp`."""
    return path.suffix in {".log", ".out", ".err"} and path.with_suffix("").is_dir()


def _put(run: RunFiles, path: Path) -> None:
    if path.name in METRICS:
        run.metrics.append(path)
    elif path.name == STATE:
        run.states.append(path)
    elif tensorboard.is_event_file(path):
        run.boards.append(path)
    else:
        run.logs.append(path)


def _joined(first: RunFiles, second: RunFiles) -> RunFiles:
    """A log beside the only output folder tells of the same run."""
    return RunFiles(
        first.home,
        [*first.metrics, *second.metrics],
        [*first.states, *second.states],
        [*first.logs, *second.logs],
        [*first.boards, *second.boards],
    )


def _latest(run: RunFiles) -> RunFiles:
    """Leave out what earlier attempts wrote into the same folder."""
    metrics = sorted(run.metrics, key=lambda p: (METRICS.index(p.name), -_modified(p)))
    boards = sorted(run.boards, key=_modified)
    return RunFiles(
        run.home,
        metrics[:1],
        sorted(run.states, key=_modified),
        _latest_logs(run.logs),
        [board for board in boards if board.parent == boards[-1].parent],
    )


def _latest_logs(logs: list[Path]) -> list[Path]:
    newest: dict[str, tuple[float, str]] = {}
    names = {log: names_of(log) for log in logs}
    for log, (family, member) in names.items():
        newest[family] = max(newest.get(family, (0.0, "")), (_modified(log), member))
    kept = [log for log, (family, member) in names.items() if newest[family][1] == member]
    return sorted(kept, key=_modified)[-_MOST_LOGS:]


def names_of(log: Path) -> tuple[str, str]:
    """Return the name of a log without its numbers, and with those that are not a rank's."""
    folders = [part for part in log.parent.parts if _ATTEMPT.fullmatch(part)]
    member = "/".join([*folders, _RANK.sub("", log.stem)])
    return re.sub(r"\d+", "#", member), member


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
