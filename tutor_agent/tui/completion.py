"""Completions of the prompt: slash commands and the files of the workspace."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.tui.commands import COMMANDS
from tutor_agent.tui.widgets.popup import Item

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.tui.wording import Words

_SKIPPED = frozenset(
    {"node_modules", "__pycache__", "venv", "site-packages", "checkpoints", "logs"}
)
_MOST_FILES = 3000
_MOST_DEPTH = 5
_OFFERED = 40
_FRESH_SECONDS = 5.0


class Completer:
    """Finds what may follow the words before the cursor."""

    def __init__(self, workspace: Path) -> None:
        self._workspace = workspace
        self._files: list[str] = []
        self._read_at = -_FRESH_SECONDS

    def __call__(self, typed: str, words: Words) -> tuple[Item, ...]:
        """Return completions for a slash command at the start, or for the `@file` being typed."""
        if typed.startswith("/"):
            return _commands(typed, words) if " " not in typed else ()
        mark = typed.rfind("@")
        before, name = typed[:mark], typed[mark + 1 :]
        if (
            mark < 0
            or " " in name
            or (before and not before[-1].isspace() and before[-1].isascii())
        ):
            return ()
        return self._matching(name)

    def _matching(self, name: str) -> tuple[Item, ...]:
        if time.monotonic() - self._read_at > _FRESH_SECONDS:
            self._files = list(_walk(self._workspace))
            self._read_at = time.monotonic()
        wanted = name.lower()
        found = [path for path in self._files if wanted in path.lower()]
        found.sort(key=lambda path: (not Path(path).name.lower().startswith(wanted), len(path)))
        return tuple(Item(insert=path, label=path) for path in found[:_OFFERED])


def _commands(typed: str, words: Words) -> tuple[Item, ...]:
    return tuple(
        Item(
            insert=f"/{command.name}",
            label=f"/{command.name}",
            hint=words(f"command.{command.name}"),
            final=not command.needs_argument,
        )
        for command in COMMANDS
        if f"/{command.name}".startswith(typed.lower())
    )


def _walk(root: Path) -> Iterator[str]:
    """Yield files under `root`, nearest first, hidden and generated folders left out."""
    left = _MOST_FILES
    for folder, folders, files in os.walk(root):
        depth = len(Path(folder).relative_to(root).parts)
        hidden = {name for name in folders if name.startswith(".") or name in _SKIPPED}
        folders[:] = sorted(set(folders) - hidden) if depth < _MOST_DEPTH else []
        for name in sorted(files):
            if name.startswith("."):
                continue
            yield str((Path(folder) / name).relative_to(root))
            left -= 1
            if left <= 0:
                return
