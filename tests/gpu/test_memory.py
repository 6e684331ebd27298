"""The memory forecast against what the allocator saw; the figures themselves are kept by `tests.gpu.record`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.gpu import midsize

if TYPE_CHECKING:
    from pathlib import Path

_MEASURED = [
    "lora",
    "lora-checkpointing",
    "full",
    "full-checkpointing",
    "freezing",
    "nf4",
    "adamw_8bit",
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of 168 M weights."""
    return midsize.save_model(tmp_path_factory.mktemp("midsize"))


@pytest.mark.slow
@pytest.mark.parametrize("name", _MEASURED)
def test_the_high_figure_of_the_forecast_holds(tmp_path: Path, model: Path, name: str) -> None:
    package = midsize.lacking(name)
    if package:
        pytest.skip(f"{package} is not installed")
    found = midsize.measure(tmp_path, model, name, steps=6)
    assert "failed" not in found, found
    said = found["forecast"]
    used = found["reserved_gib"] + said["context_gib"]
    assert found["allocated_gib"] + said["context_gib"] <= said["high_gib"], found
    assert used <= said["high_gib"], found
    # A forecast that is always far too high would be right as well, and of no use.
    assert said["expected_gib"] <= 2.0 * used + 0.5, found
    assert found["tokens_per_second"] > 0
