"""Write the events of a run from rank 0, and a heartbeat that tells slow from dead."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import psutil
import torch

from tutor_agent.core.events import Event, append_event

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.events import Kind
    from tutor_agent.core.text import Text
    from tutor_agent.training.trackers import Trackers

_BEAT_SECONDS = 10.0
_RESERVE = ".reserve"
_RESERVE_BYTES = 256 * 1024
_GIB = 2**30


class Recorder:
    """The event log of one attempt. Only rank 0 writes; on other ranks every call does nothing."""

    def __init__(self, run: Path, *, rank: int, attempt: int) -> None:
        self._run = run
        self._rank = rank
        self._attempt = attempt
        self._seq = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._trackers: Trackers | None = None
        self.step = 0

    def tell(self, trackers: Trackers) -> None:
        """Send every figure from now on to `trackers` as well."""
        if self._rank == 0:
            self._trackers = trackers
            self._pass_on_notes()

    def start(self) -> None:
        """Begin the heartbeat and put a little disk aside for the last words of a full disk."""
        if self._rank == 0:
            reserve = self._run / _RESERVE
            if not reserve.exists():
                reserve.write_bytes(b"\0" * _RESERVE_BYTES)
            threading.Thread(target=self._beat, name="tutor-heartbeat", daemon=True).start()

    def end(self) -> None:
        """Stop the heartbeat and give the reserve back."""
        self._ended.set()
        self.release()

    def release(self) -> None:
        """Give back the disk put aside by `start`, so that events can still be written."""
        if self._rank == 0:
            (self._run / _RESERVE).unlink(missing_ok=True)

    def write(self, kind: Kind, *, sync: bool = False, **payload: Any) -> None:
        """Append one event at the present step; `sync` forces it to disk."""
        if self._rank != 0:
            return
        if self._trackers is not None and kind == "run_ended":
            self._trackers.finish(str(payload.get("state")), payload.get("reason"))
            self._pass_on_notes()
        with self._lock:
            event = Event(
                run=self._run.name,
                attempt=self._attempt,
                seq=self._seq,
                t=time.time(),
                step=self.step,
                kind=kind,
                payload=payload,
            )
            self._seq += 1
            try:
                append_event(self._run / "events.jsonl", event, sync=sync)
            except OSError as error:
                sys.stderr.write(f"tutor: an event was lost ({error}): {event.line()}\n")
        if self._trackers is not None and kind != "heartbeat":
            self._trackers.take(event)
            self._pass_on_notes()

    def _pass_on_notes(self) -> None:
        for text in self._trackers.notes() if self._trackers else ():
            self.note(text)

    def note(self, text: Text) -> None:
        """Append a note for the person."""
        self.write("note", text_en=text.en, text_zh=text.zh)

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            self.write("heartbeat", rank=self._rank, memory_gib=memory_gib())


def memory_gib() -> float:
    """Return the peak GPU memory of this process in GiB, or its resident memory without a GPU."""
    if torch.cuda.is_available():
        return round(torch.cuda.max_memory_reserved() / _GIB, 3)
    return round(psutil.Process(os.getpid()).memory_info().rss / _GIB, 3)
