"""Keeps stray output of libraries off the screen: Textual draws on the terminal behind stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path


@contextlib.contextmanager
def guarded_stderr(log: Path) -> Generator[None]:
    """Send file descriptor 2 to `log`; Python's own stderr, on which Textual draws, keeps the terminal."""
    log.parent.mkdir(parents=True, exist_ok=True)
    kept = os.dup(2)
    screen = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="replace")
    streams = (sys.stderr, sys.__stderr__)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.dup2(descriptor, 2)
        sys.stderr = screen
        sys.__stderr__ = screen  # pyright: ignore[reportAttributeAccessIssue]
        yield
    finally:
        screen.flush()
        os.dup2(kept, 2)
        sys.stderr, sys.__stderr__ = streams  # pyright: ignore[reportAttributeAccessIssue]
        os.close(descriptor)
        os.close(kept)
        screen.close()
