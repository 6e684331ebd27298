"""Following an event log while it grows: by offset, so that nothing is pushed and anyone may join late."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from tutor_agent.core.events import parse_event

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.events import Event
    from tutor_agent.runs.folder import RunFolder

_CHUNK = 1 << 20


class Follower:
    """Reads what is new. A cut tail waits for its rest; a file cut or replaced is read anew."""

    def __init__(self, folder: RunFolder) -> None:
        self._path: Path = folder.events
        self._offset = 0
        self._inode: int | None = None
        self._tail = b""
        self._seen: dict[tuple[int, int], int] = {}

    def poll(self) -> list[Event]:
        """Return the events written since the last call, each once."""
        try:
            with self._path.open("rb") as stream:
                self._find_place(stream.fileno())
                stream.seek(self._offset)
                fresh: list[Event] = []
                while chunk := stream.read(_CHUNK):
                    self._offset += len(chunk)
                    fresh += self._take(chunk)
        except FileNotFoundError:
            return []
        return fresh

    def _find_place(self, descriptor: int) -> None:
        state = os.fstat(descriptor)
        if state.st_ino != self._inode or state.st_size < self._offset:
            self._inode, self._offset, self._tail = state.st_ino, 0, b""

    def _take(self, chunk: bytes) -> list[Event]:
        *lines, self._tail = (self._tail + chunk).split(b"\n")
        events = (parse_event(line.decode("utf-8", errors="replace")) for line in lines)
        return [event for event in events if event is not None and self._is_new(event)]

    def _is_new(self, event: Event) -> bool:
        """Return whether the event is later than all of its writer: a copied log repeats itself."""
        rank = event.payload.get("rank")
        writer = (event.attempt, rank if isinstance(rank, int) else 0)
        if event.seq <= self._seen.get(writer, -1):
            return False
        self._seen[writer] = event.seq
        return True
