"""Reads the scene that the guard kept of a halted step; see `training/scene.py` for who writes it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from pydantic import Field

from tutor_agent.core.contract import Contract

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class Tensor(Contract):
    """State of one weight or gradient."""

    dtype: str = ""
    """Number format."""
    largest: float = 0.0
    """Largest finite magnitude."""
    rms: float = 0.0
    """Root mean square of the finite numbers."""
    non_finite: int = 0
    """How many numbers are NaN or infinite."""


class Sample(Contract):
    """One row of the step."""

    row: str
    """Its number in the data; several when rows were joined."""
    loss: float | None = None
    """Its mean loss; None when it could not be computed alone."""
    tokens: int = 0
    """Its length."""
    text: str = ""
    """Its beginning."""


class KeptScene(Contract):
    """What the guard kept of the halted step on the rank where the trouble began."""

    reason: str = ""
    """non_finite_loss, non_finite_gradient, diverged."""
    step: int
    """The step that was not taken."""
    rank: int = 0
    """The rank that signed."""
    ranks: int = 1
    """How many ranks kept a scene."""
    learning_rate: float | None = None
    """Learning rate of the step."""
    loss: float = math.nan
    """Loss of the step on this rank."""
    grad_norm: float = math.nan
    """Gradient norm of the step."""
    recent_losses: tuple[float, ...] = ()
    """Losses of the steps before."""
    samples: tuple[Sample, ...] = ()
    """The rows of the step."""
    first_non_finite: dict[str, str] = Field(default_factory=dict)
    """Module, kind and dtype of the first output that was no number; empty when all were finite."""
    weights: dict[str, Tensor] = Field(default_factory=dict)
    """Weights before the step, in the order of the model."""
    gradients: dict[str, Tensor] = Field(default_factory=dict)
    """Gradients of the step, in the order of the model; empty when it could not be run again."""


def read_scene(run: Path) -> KeptScene | None:
    """Read the signed scene of a run folder; None where none was kept or it cannot be read."""
    place = run / "scene"
    head = _object(place / "scene.json")
    files = head.get("files")
    names: dict[str, Any] = files if isinstance(files, dict) else {}  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(head.get("step"), int):
        return None
    layers = _object(place / str(names.get("layers", "layers.json")))
    first: dict[str, str] = head.get("first_non_finite") or {}
    known = {key: head[key] for key in ("reason", "step", "rank") if key in head}
    try:
        return KeptScene(
            **known,
            ranks=max(1, len(list(place.glob("rank-*")))),
            learning_rate=_number(head.get("learning_rate")),
            loss=_number(head.get("loss")) or math.nan,
            grad_norm=_number(head.get("grad_norm")) or math.nan,
            recent_losses=tuple(
                value
                for one in head.get("recent_losses", ())
                if (value := _number(one)) is not None
            ),
            samples=tuple(_samples(place / str(names.get("samples", "samples.jsonl")))),
            first_non_finite=first,
            weights=layers.get("weights", {}),
            gradients=layers.get("gradients", {}),
        )
    except (TypeError, ValueError):
        return None


def _samples(path: Path) -> Iterable[Sample]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            data: Any = json.loads(line)
        except ValueError:
            continue
        if not isinstance(data, dict):
            continue
        row = data.get("row")  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
        rows: list[object] = row if isinstance(row, list) else [row]  # pyright: ignore[reportUnknownVariableType]
        yield Sample(
            row=", ".join(str(number) for number in rows),
            loss=_number(data.get("loss")),  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            tokens=int(_number(data.get("tokens")) or 0),  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
            text=str(data.get("text") or ""),  # pyright: ignore[reportUnknownArgumentType, reportUnknownMemberType]
        )


def _number(value: object) -> float | None:
    """Read a number; the scene writes those that are none as words."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except ValueError:
        return None


def _object(path: Path) -> dict[str, Any]:
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}  # pyright: ignore[reportUnknownVariableType]
