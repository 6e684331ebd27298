"""Experiment trackers: every figure of a run's events, sent to the tools that the plan names.

A tracker is an onlooker. One that is not installed is refused before training. Each works in a thread of its
own, so that training never waits for a server; one that fails, or cannot keep up, is let go with one note.
Whatever is local lies in `logs/trackers` of the run folder. Whether a tool works online is for its own
environment variables to say (WANDB_MODE, SWANLAB_MODE, MLFLOW_TRACKING_URI, TRACKIO_SPACE_ID).

Figures, the plan without secrets, and how the run ended are all that is sent: no texts, no console output.
"""

from __future__ import annotations

import json
import math
import os
import re
from importlib import import_module
from importlib.util import find_spec
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.redact import redact
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import TracebackType

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan, Tracker

_PROJECT = "tutor-agent"
_MODULES: dict[Tracker, str] = {
    "tensorboard": "torch.utils.tensorboard",
    "wandb": "wandb",
    "swanlab": "swanlab",
    "mlflow": "mlflow",
    "trackio": "trackio",
}
_GROUPS = {"audit": "audit", "step": "train", "evaluation": "", "checkpoint": "checkpoint"}
_ODD = re.compile(r"[^\w.\- /]")
"""What MLflow does not take in a name."""
_MOST_WAITING = 10_000
_LAST_SECONDS = 30.0
"""How long the end of a run waits for what a tool has not sent yet."""
_WELL = {"completed", "stopped"}


class _Start(NamedTuple):
    """What a tool is started with."""

    module: Any
    name: str
    place: Path
    step: int
    settings: dict[str, Any]


class _Ending(NamedTuple):
    """How a run ended."""

    state: str
    reason: str


class _Tool(Protocol):
    def __init__(self, start: _Start) -> None: ...

    def log(self, figures: dict[str, float], step: int) -> None: ...

    def finish(self, ending: _Ending) -> None: ...


class Trackers:
    """The trackers of one run; only rank 0 has any."""

    def __init__(self, run: Path, plan: Plan, *, step: int = 0) -> None:
        """Begin a run in every tracker that `plan` names, or go on with it.

        Args:
            run: The run folder.
            plan: Names the trackers.
            step: Where training goes on from; what an earlier attempt drew beyond it is void.

        Raises:
            NotPossibleError: A tracker cannot be imported.
        """
        places = [run / "logs" / "trackers" / name for name in plan.trackers]
        named = list(zip(plan.trackers, places, strict=True))
        modules = [_module(name, place) for name, place in named]
        settings = _settings(plan)
        self._feeds: dict[str, _Feed] = {}
        for (name, place), module in zip(named, modules, strict=True):
            place.mkdir(parents=True, exist_ok=True)
            start = _Start(module, run.name, place, step, settings)
            self._feeds[name] = _Feed(_TOOLS[name], start)

    def take(self, event: Event) -> None:
        """Pass the figures of one event on, without waiting for anybody."""
        figures = _figures(event)
        if figures:
            for feed in self._feeds.values():
                feed.put(figures, event.step)

    def finish(self, state: str, reason: str | None) -> None:
        """Close every tracker; what one has not sent within half a minute is given up."""
        for feed in self._feeds.values():
            feed.close(_Ending(state, redact(reason or "")))
        for feed in self._feeds.values():
            feed.wait(_LAST_SECONDS)

    def notes(self) -> list[Text]:
        """Return what went wrong since the last call; who is named here receives nothing more."""
        lost = {name: feed.trouble for name, feed in self._feeds.items() if feed.trouble}
        self._feeds = {name: feed for name, feed in self._feeds.items() if name not in lost}
        return [
            Text(
                en=f"The tracker {name} receives no more figures ({reason}). Training goes on; events.jsonl has them all.",
                zh=f"跟踪工具 {name} 不再接收指标（{reason}）。训练照常进行，全部指标都在 events.jsonl 中。",
            )
            for name, reason in lost.items()
        ]


def refuse_missing(plan: Plan) -> None:
    """Check on every rank that the trackers of `plan` are installed, so that none is left waiting for rank 0.

    Raises:
        NotPossibleError: One is not.
    """
    for name in plan.trackers:
        if find_spec(name) is None:
            raise _missing(name, "not installed")


def _module(name: Tracker, place: Path) -> Any:
    """Import a tracker here, in the main thread: imports in two threads at once may see half a module."""
    if name == "trackio":
        # It reads this once, when it is imported.
        os.environ.setdefault("TRACKIO_DIR", str(place))
    try:
        return import_module(_MODULES[name])
    except ImportError as error:
        raise _missing(name, str(error)) from error


def _missing(name: Tracker, reason: str) -> NotPossibleError:
    return NotPossibleError(
        f"trackers names {name!r}, which cannot be used here ({reason}). Run `pip install {name}` (all five: "
        "`pip install 'tutor-agent[trackers]'`), or take it out of the plan.",
        f"trackers 中的 {name!r} 在此无法使用（{reason}）。请运行 `pip install {name}`（全部五种："
        "`pip install 'tutor-agent[trackers]'`），或从计划中去掉。",
    )


def _settings(plan: Plan) -> dict[str, Any]:
    """Return the plan without secrets, as the configuration that trackers show."""
    words = redact(json.dumps(plan.model_dump(mode="json"), ensure_ascii=False))
    settings: dict[str, Any] = json.loads(words)
    return settings


def _figures(event: Event) -> dict[str, float]:
    if event.kind not in _GROUPS:
        return {}
    group = _GROUPS[event.kind]
    if event.kind == "evaluation":
        split, phase = event.payload.get("split"), event.payload.get("phase")
        group = f"{split}" if phase == "during" else f"{split}_{phase}"
    found = dict(_numbers(group, event.payload))
    classes: Any = event.payload.get("classes") or {}
    for name, figures in classes.items():
        found |= _numbers(f"{group}/{_ODD.sub('_', name)}", figures)
    return found


def _numbers(group: str, payload: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield the finite numbers in `payload` by name."""
    for key, value in payload.items():
        name = f"{group}/{_ODD.sub('_', key)}"
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            yield name, float(value)


class _Feed:
    """One tool in a thread of its own."""

    def __init__(self, kind: type[_Tool], start: _Start) -> None:
        self._kind = kind
        self._start = start
        self._waiting: SimpleQueue[tuple[dict[str, float], int] | _Ending] = SimpleQueue()
        self.trouble: str | None = None
        # The end of a run waits for it a while, the end of the process does not.
        self._thread = Thread(target=self._work, name=f"tutor-{start.place.name}", daemon=True)
        self._thread.start()

    def put(self, figures: dict[str, float], step: int) -> None:
        self._waiting.put((figures, step))
        if self._waiting.qsize() > _MOST_WAITING:
            self.trouble = f"{_MOST_WAITING} messages wait to be sent"

    def close(self, ending: _Ending) -> None:
        self._waiting.put(ending)

    def wait(self, seconds: float) -> None:
        self._thread.join(seconds)
        if self._thread.is_alive():
            self.trouble = f"not finished after {seconds:.0f} s"

    def _work(self) -> None:
        with self:
            tool = self._kind(self._start)
            while not isinstance(item := self._waiting.get(), _Ending):
                if self.trouble is None:
                    tool.log(*item)
            tool.finish(item)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        """Keep what went wrong: whatever a tool raises, it ends this thread and nothing else."""
        if error is not None:
            self.trouble = redact(f"{type(error).__name__}: {error}")[:300]
        return isinstance(error, Exception | SystemExit)


class _TensorBoard:
    def __init__(self, start: _Start) -> None:
        self._writer = start.module.SummaryWriter(
            log_dir=str(start.place), purge_step=start.step + 1 if start.step else None
        )
        self._writer.add_text("plan", f"```json\n{json.dumps(start.settings, indent=2)}\n```")

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, ending: _Ending) -> None:
        self._writer.add_text("ended", ": ".join(filter(None, ending)))
        self._writer.close()


class _Wandb:
    def __init__(self, start: _Start) -> None:
        self._run = start.module.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=_lasting_id(start),
            name=start.name,
            dir=str(start.place),
            config=start.settings,
            resume="allow",
            settings=start.module.Settings(
                console="off", disable_code=True, disable_git=True, **_patience()
            ),
        )
        # Its own step only ever grows; after a resume ours goes back.
        self._run.define_metric("step", hidden=True)
        self._run.define_metric("*", step_metric="step")

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log({**figures, "step": step})

    def finish(self, ending: _Ending) -> None:
        self._run.summary.update(ending._asdict())
        self._run.finish(exit_code=0 if ending.state in _WELL else 1)


def _patience() -> dict[str, float]:
    """Return how long W&B tries; by itself it holds up the end of a process without a network for minutes."""
    limits = {"init_timeout": _LAST_SECONDS, "finish_timeout": _LAST_SECONDS * 0.8}
    return {key: limit for key, limit in limits.items() if f"WANDB_{key.upper()}" not in os.environ}


class _SwanLab:
    def __init__(self, start: _Start) -> None:
        settings = start.module.Settings(
            project={"name": os.environ.get("SWANLAB_PROJ_NAME", _PROJECT)},
            terminal={"proxy_type": "none"},
            interactive=False,
        )
        self._run = start.module.init(
            settings=settings,
            name=start.name,
            id=_lasting_id(start),
            resume="allow",
            config=start.settings,
            log_dir=str(start.place),
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log(figures, step=step)

    def finish(self, ending: _Ending) -> None:
        if ending.state in _WELL:
            self._run.finish()
        else:
            self._run.finish("crashed", error=": ".join(filter(None, ending)))


class _MLflow:
    def __init__(self, start: _Start) -> None:
        self._tool = start.module
        if "MLFLOW_TRACKING_URI" in os.environ:
            self._tool.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
        else:
            self._keep_here(start)
        kept = start.place / "run.json"
        known = json.loads(kept.read_text(encoding="utf-8"))["id"] if kept.is_file() else None
        self._run = self._tool.start_run(run_id=known, run_name=None if known else start.name)
        write_atomic(kept, json.dumps({"id": self._run.info.run_id}))
        self._tool.log_dict(start.settings, "plan.json")

    def _keep_here(self, start: _Start) -> None:
        """Keep figures and files in the run folder; by itself MLflow writes into the working directory."""
        self._tool.set_tracking_uri(f"sqlite:///{start.place / 'mlflow.db'}")
        if self._tool.get_experiment_by_name(_PROJECT) is None:
            files = (start.place / "files").as_uri()
            self._tool.create_experiment(_PROJECT, artifact_location=files)
        self._tool.set_experiment(_PROJECT)

    def log(self, figures: dict[str, float], step: int) -> None:
        self._tool.log_metrics(figures, step=step)

    def finish(self, ending: _Ending) -> None:
        self._tool.set_tags(ending._asdict())
        self._tool.end_run("FINISHED" if ending.state in _WELL else "FAILED")


class _Trackio:
    def __init__(self, start: _Start) -> None:
        self._run = start.module.init(
            project=os.environ.get("TRACKIO_PROJECT", _PROJECT),
            name=start.name,
            config=start.settings,
            resume="allow",
            embed=False,
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log(figures, step=step)

    def finish(self, ending: _Ending) -> None:
        if ending.state not in _WELL:
            self._run.alert(f"The run is {ending.state}", ending.reason)
        self._run.finish()


_TOOLS: dict[Tracker, type[_Tool]] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "swanlab": _SwanLab,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}


def _lasting_id(start: _Start) -> str:
    """Return the identity of the run in a tracker, which a resume has to find again."""
    kept = start.place / "run.json"
    if not kept.is_file():
        write_atomic(kept, json.dumps({"id": f"{start.name}-{os.urandom(4).hex()}"}))
    found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
    return found["id"]
