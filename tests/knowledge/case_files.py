"""The doctor's cases: complaints with logs, and the cause that is right."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).with_name("cases")


@lru_cache(maxsize=1)
def all_cases() -> tuple[dict[str, Any], ...]:
    """Return the cases of every file, in order."""
    return tuple(
        case
        for path in sorted(FOLDER.glob("*.yaml"))
        for case in yaml.safe_load(path.read_text(encoding="utf-8"))
    )


def right_answers(case: dict[str, Any]) -> set[str]:
    """Return the causes that count as right."""
    return {case["cause"], *case["also"]}
