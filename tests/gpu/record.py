"""Measure every configuration on this machine's GPU and keep the figures in tests/benchmarks/results/.

python -m tests.gpu.record [--steps 24] [--only lora --only flash] [--into FILE]

Each configuration trains in a process of its own, after one that warms the machine and is thrown away. One
that cannot run here is recorded with its reason. Without a GPU it works too, slowly, and records no memory.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tests.gpu import midsize

RESULTS = Path(__file__).resolve().parents[1] / "benchmarks" / "results"
_PACKAGES = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "bitsandbytes",
    "flash-attn",
    "liger-kernel",
    "triton",
)


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--only", action="append", choices=sorted(midsize.CONFIGURATIONS))
    parser.add_argument("--into", type=Path)
    asked = parser.parse_args()
    into = asked.into or RESULTS / f"gpu-{_slug(_device())}.json"
    names = asked.only or list(midsize.CONFIGURATIONS)
    with tempfile.TemporaryDirectory() as folder:
        model = midsize.save_model(Path(folder) / "model")
        if torch.cuda.is_available():
            midsize.measure(Path(folder) / "warm", model, "lora", 8)
        found = {name: _one(Path(folder), model, name, asked.steps) for name in names}
    into.parent.mkdir(parents=True, exist_ok=True)
    report = {**_machine(), "steps": asked.steps, "model": midsize.SIZE, "configurations": found}
    into.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written: {into}")


def _one(folder: Path, model: Path, name: str, steps: int) -> dict[str, Any]:
    package = midsize.lacking(name)
    if package:
        found: dict[str, Any] = {"left_out": f"{package} is not installed"}
    else:
        found = midsize.measure(folder / name, model, name, steps)
    print(f"{name:20}", _line(found), flush=True)
    return found


def _line(found: dict[str, Any]) -> str:
    if "forecast" not in found:
        return str(found.get("left_out") or found["failed"][-200:])
    said = found["forecast"]
    return (
        f"{found['tokens_per_second']:>10.0f} tokens/s   allocated {found['allocated_gib']} GiB, reserved "
        f"{found['reserved_gib']} GiB   forecast {said['expected_gib']:.2f} (to {said['high_gib']:.2f}) GiB"
    )


def _machine() -> dict[str, Any]:
    return {
        "device": _device(),
        "capability": torch.cuda.get_device_capability() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in _PACKAGES},
    }


def _device() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _slug(words: str) -> str:
    return "-".join(words.lower().split())


if __name__ == "__main__":
    main()
