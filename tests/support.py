"""Small helpers that all tests share."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


def wait_for(predicate: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Look until `predicate` holds; fail when it does not within `seconds`."""
    pause, deadline = threading.Event(), time.monotonic() + seconds
    while not predicate():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what or predicate}"
        pause.wait(0.02)
