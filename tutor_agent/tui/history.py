"""What was typed before, kept in the workspace."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from tutor_agent.core.redact import redact
from tutor_agent.core.storage import append_line

if TYPE_CHECKING:
    from pathlib import Path

_KEPT = 500


class History:
    """Earlier prompts, the newest last; up and down walk through them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = self._read()
        self._at = len(self._lines)
        self._draft = ""

    def add(self, words: str) -> None:
        """Remember a prompt; a repetition of the last one is not kept twice."""
        if words.strip() and (not self._lines or self._lines[-1] != words):
            self._lines.append(words)
            with contextlib.suppress(OSError):
                self._path.parent.mkdir(parents=True, exist_ok=True)
                append_line(self._path, json.dumps(redact(words), ensure_ascii=False))
        self._at = len(self._lines)
        self._draft = ""

    def older(self, draft: str) -> str | None:
        """Return the prompt before; None at the first. `draft` comes back on the way down."""
        if self._at == 0:
            return None
        if self._at == len(self._lines):
            self._draft = draft
        self._at -= 1
        return self._lines[self._at]

    def newer(self) -> str | None:
        """Return the prompt after, at the end the draft; None when already there."""
        if self._at >= len(self._lines):
            return None
        self._at += 1
        return self._draft if self._at == len(self._lines) else self._lines[self._at]

    def _read(self) -> list[str]:
        try:
            rows = self._path.read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            return []
        found: list[str] = []
        for row in rows[-_KEPT:]:
            with contextlib.suppress(ValueError):
                found.append(str(json.loads(row)))
        return found
