"""Damaged logs are read as far as they go; none of them stops the doctor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.fuzz_logs import damaged
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_path

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("seed", range(24))
@pytest.mark.parametrize("name", ["train.log", "trainer_state.json", "events.out.tfevents.1.host"])
def test_a_damaged_log(tmp_path: Path, name: str, seed: int) -> None:
    path = tmp_path / name
    path.write_bytes(damaged(seed))
    seen = read_path(path)
    assert diagnose(seen).verdict in {"fault", "healthy", "unknown"}
    assert all(len(line) <= 4000 for line in seen.lines)


def test_the_damage_is_always_the_same() -> None:
    assert damaged(7) == damaged(7)
