"""Experiment trackers: every figure of a run's events, sent to the tools that the plan names.

A tracker is an onlooker. One that is not installed is refused before training; one that fails later is let
go with a note, and training goes on. Whatever is local is kept in `logs/trackers` of the run folder, and
whether a tool works online is for its own environment variables to say (WANDB_MODE, SWANLAB_MODE,
MLFLOW_TRACKING_URI).
"""

from __future__ import annotations

import json
import math
import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.redact import redact
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.events import Event
    from tutor_agent.core.plan import Plan, Tracker

_PROJECT = "tutor-agent"
_FIGURED = {"step": "train", "evaluation": "", "checkpoint": "checkpoint"}
_PLAIN = (OSError, RuntimeError, ValueError, TypeError, AttributeError, KeyError, ImportError)


class _Tool(Protocol):
    errors: tuple[type[Exception], ...]

    def log(self, figures: dict[str, float], step: int) -> None: ...

    def finish(self, state: str) -> None: ...


class Trackers:
    """The trackers of one run; only rank 0 has any."""

    def __init__(self, run: Path, plan: Plan) -> None:
        """Begin (or on a resume continue) a run in every tracker that `plan` names."""
        self._notes: list[Text] = []
        self._tools: dict[str, _Tool] = {}
        for name in plan.trackers:
            place = run / "logs" / "trackers" / name
            place.mkdir(parents=True, exist_ok=True)
            try:
                self._tools[name] = _TOOLS[name](run.name, place, _settings(plan))
            except _errors_of(name) as error:
                self._lost(name, error)

    def take(self, event: Event) -> None:
        """Send the figures of one event on."""
        if event.kind == "run_ended":
            self._finish(str(event.payload.get("state")))
            return
        figures = _figures(event)
        if not figures:
            return
        for name, tool in [*self._tools.items()]:
            try:
                tool.log(figures, event.step)
            except tool.errors as error:
                self._lost(name, error)

    def notes(self) -> list[Text]:
        """Return what went wrong since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def _finish(self, state: str) -> None:
        for name, tool in [*self._tools.items()]:
            try:
                tool.finish(state)
            except tool.errors as error:
                self._lost(name, error)
        self._tools.clear()

    def _lost(self, name: str, error: Exception) -> None:
        self._tools.pop(name, None)
        reason = redact(f"{type(error).__name__}: {error}")[:300]
        self._notes.append(
            Text(
                en=f"The tracker {name} receives no more figures ({reason}). Training goes on.",
                zh=f"跟踪工具 {name} 不再接收指标（{reason}）。训练照常进行。",
            )
        )


def refuse_missing(plan: Plan) -> None:
    """Check that every tracker of `plan` is installed.

    Raises:
        NotPossibleError: One is not.
    """
    missing = [name for name in plan.trackers if find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        raise NotPossibleError(
            f"trackers names {', '.join(missing)}, which is not installed. Run `pip install {names}`, or take it out of "
            "the plan.",
            f"trackers 中的 {'、'.join(missing)} 没有安装。请运行 `pip install {names}`，或从计划中去掉。",
        )


def _settings(plan: Plan) -> dict[str, Any]:
    """Return the plan without secrets, as the configuration that trackers show."""
    words = redact(json.dumps(plan.model_dump(mode="json"), ensure_ascii=False))
    settings: dict[str, Any] = json.loads(words)
    return settings


def _figures(event: Event) -> dict[str, float]:
    if event.kind not in _FIGURED:
        return {}
    group = _FIGURED[event.kind]
    if event.kind == "evaluation":
        split, phase = event.payload.get("split"), event.payload.get("phase")
        group = f"{split}" if phase == "during" else f"{split}_{phase}"
    return {
        f"{group}/{name}": float(value)
        for name, value in event.payload.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }


class _TensorBoard:
    errors = _PLAIN

    def __init__(self, name: str, place: Path, settings: dict[str, Any]) -> None:
        writer: Any = import_module("torch.utils.tensorboard").SummaryWriter
        self._writer = writer(log_dir=str(place))
        self._writer.add_text("plan", f"```json\n{json.dumps(settings, indent=2)}\n```")
        self._writer.add_text("run", name)

    def log(self, figures: dict[str, float], step: int) -> None:
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def finish(self, state: str) -> None:
        self._writer.add_text("state", state)
        self._writer.close()


class _Wandb:
    def __init__(self, name: str, place: Path, settings: dict[str, Any]) -> None:
        tool: Any = import_module("wandb")
        self.errors = (*_PLAIN, tool.Error)
        self._run = tool.init(
            project=os.environ.get("WANDB_PROJECT", _PROJECT),
            id=_lasting_id(name, place),
            name=name,
            dir=str(place),
            config=settings,
            resume="allow",
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        self._run.log({**figures, "step": step})

    def finish(self, state: str) -> None:
        self._run.summary["state"] = state
        self._run.finish(exit_code=0 if state in {"completed", "stopped"} else 1)


class _SwanLab:
    errors = _PLAIN

    def __init__(self, name: str, place: Path, settings: dict[str, Any]) -> None:
        self._tool: Any = import_module("swanlab")
        self._tool.init(
            project=os.environ.get("SWANLAB_PROJECT", _PROJECT),
            experiment_name=name,
            config=settings,
            logdir=str(place),
        )

    def log(self, figures: dict[str, float], step: int) -> None:
        self._tool.log(figures, step=step)

    def finish(self, state: str) -> None:
        self._tool.finish()


class _MLflow:
    def __init__(self, name: str, place: Path, settings: dict[str, Any]) -> None:
        self._tool: Any = import_module("mlflow")
        self.errors = (*_PLAIN, self._tool.exceptions.MlflowException)
        if "MLFLOW_TRACKING_URI" not in os.environ:
            self._tool.set_tracking_uri(f"sqlite:///{place / 'mlflow.db'}")
        self._tool.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", _PROJECT))
        kept = place / "run.json"
        known = json.loads(kept.read_text(encoding="utf-8"))["id"] if kept.is_file() else None
        self._run = self._tool.start_run(run_id=known, run_name=name)
        write_atomic(kept, json.dumps({"id": self._run.info.run_id}))
        self._tool.log_dict(settings, "plan.json")

    def log(self, figures: dict[str, float], step: int) -> None:
        self._tool.log_metrics(figures, step=step)

    def finish(self, state: str) -> None:
        self._tool.set_tag("state", state)
        self._tool.end_run("FINISHED" if state in {"completed", "stopped"} else "FAILED")


class _Trackio:
    errors = _PLAIN

    def __init__(self, name: str, place: Path, settings: dict[str, Any]) -> None:
        os.environ.setdefault("TRACKIO_DIR", str(place))
        self._tool: Any = import_module("trackio")
        self._tool.init(project=_PROJECT, name=name, config=settings, resume="allow")

    def log(self, figures: dict[str, float], step: int) -> None:
        self._tool.log(figures, step=step)

    def finish(self, state: str) -> None:
        self._tool.finish()


_TOOLS: dict[Tracker, Any] = {
    "tensorboard": _TensorBoard,
    "wandb": _Wandb,
    "swanlab": _SwanLab,
    "mlflow": _MLflow,
    "trackio": _Trackio,
}


def _errors_of(name: Tracker) -> tuple[type[Exception], ...]:
    """Return what a tracker may raise while it starts, its own errors among them."""
    if name == "wandb":
        return (*_PLAIN, import_module("wandb").Error)
    if name == "mlflow":
        return (*_PLAIN, import_module("mlflow").exceptions.MlflowException)
    return _PLAIN


def _lasting_id(name: str, place: Path) -> str:
    """Return the identity of the run in a tracker, which a resume has to find again."""
    kept = place / "run.json"
    if not kept.is_file():
        write_atomic(kept, json.dumps({"id": f"{name}-{os.urandom(4).hex()}"}))
    found: dict[str, str] = json.loads(kept.read_text(encoding="utf-8"))
    return found["id"]
