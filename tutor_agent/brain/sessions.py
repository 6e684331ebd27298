"""Conversations on disk: one JSON line an entry, written as it happens."""

from __future__ import annotations

import json
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.brain.history import (
    ENTRY,
    CallEntry,
    Entry,
    NoticeEntry,
    ResultEntry,
    TutorEntry,
    UserEntry,
    denials,
)
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.redact import redact
from tutor_agent.core.resources import state_dir
from tutor_agent.core.storage import append_line, write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.text import Language

_ID = re.compile(r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{4}$")


class SessionInfo(Contract):
    """One conversation in a list."""

    id: str
    """Name of the session."""
    title: str
    """The first words of the person."""
    updated: float
    """Unix time of the last entry."""
    turns: int
    """How often the person spoke."""


class Session:
    """A conversation that is saved with every entry."""

    def __init__(self, path: Path, entries: list[Entry] | None = None) -> None:
        self.path = path
        self._entries: list[Entry] = entries or []

    @property
    def id(self) -> str:
        """Name of the session."""
        return self.path.stem

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Everything so far."""
        return tuple(self._entries)

    @property
    def title(self) -> str:
        """The first words of the person, shortened."""
        first = next((e.words for e in self._entries if isinstance(e, UserEntry)), "")
        line = " ".join(first.split())
        return line if len(line) <= 60 else line[:59] + "…"

    def add(self, entry: Entry) -> None:
        """Append an entry and write it through the redactor, so that a crash loses nothing said before."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        clean = _redacted(entry.model_dump(mode="json"))
        append_line(self.path, json.dumps(clean, ensure_ascii=False))
        self._entries.append(entry)

    def export(self, path: Path, language: Language) -> None:
        """Write the conversation as Markdown."""
        write_atomic(path, to_markdown(self, language))


def new_session(workspace: Path) -> Session:
    """Begin a conversation; its file appears with the first entry."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"
    return Session(_folder(workspace) / f"{name}.jsonl")


def open_session(workspace: Path, session: str) -> Session:
    """Open a saved conversation; calls left without a result are answered with a denial.

    Raises:
        NotFoundError: No such session.
    """
    path = _folder(workspace) / f"{session}.jsonl"
    if not _ID.match(session) or not path.is_file():
        known = [info.id for info in list_sessions(workspace)][:5]
        raise NotFoundError(
            f"No session {session!r}. Latest: {', '.join(known) or 'none yet'}.",
            f"没有会话 {session!r}。最近的有：{'、'.join(known) or '暂无'}。",
        )
    if not path.read_bytes().endswith(b"\n"):
        append_line(path, "")
    opened = Session(path, _read(path))
    for denial in denials(list(opened.entries)):
        opened.add(denial)
    return opened


def list_sessions(workspace: Path) -> tuple[SessionInfo, ...]:
    """Return the saved conversations, latest first."""
    found: list[SessionInfo] = []
    for path in _folder(workspace).glob("*.jsonl"):
        session = Session(path, _read(path))
        turns = sum(isinstance(entry, UserEntry) for entry in session.entries)
        updated = path.stat().st_mtime
        found.append(SessionInfo(id=session.id, title=session.title, updated=updated, turns=turns))
    return tuple(sorted(found, key=lambda info: info.updated, reverse=True))


def last_session(workspace: Path) -> Session | None:
    """Return the conversation in which something was said last; None when there is none yet."""
    paths = list(_folder(workspace).glob("*.jsonl"))
    newest = max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)
    return None if newest is None else Session(newest, _read(newest))


def to_markdown(session: Session, language: Language) -> str:
    """Return the conversation as Markdown, credentials removed."""
    you, tutor = ("你", "导师") if language == "zh" else ("You", "Tutor")
    lines = [f"# {session.title or session.id}", ""]
    for entry in session.entries:
        match entry:
            case UserEntry(words=words):
                lines += [f"**{you}**", "", *(f"> {line}" for line in words.splitlines()), ""]
            case TutorEntry(words=words):
                lines += [f"**{tutor}** ({entry.answered_by})", "", words, ""]
            case NoticeEntry(text=text):
                lines += [f"*{text.pick(language)}*", ""]
            case CallEntry(tool=tool):
                arguments = json.dumps(entry.arguments, ensure_ascii=False)
                lines += [f"- `{tool}` `{arguments}`", ""]
            case ResultEntry(summary=summary):
                mark = "✓" if entry.ok else "✗"
                lines += [f"  - {mark} {summary.pick(language)}", ""]
            case _:
                pass
    return redact("\n".join(lines))


def _folder(workspace: Path) -> Path:
    return state_dir(workspace) / "sessions"


def _redacted(value: Any) -> Any:
    """Redact every string inside a value; done before encoding, so that escapes stay whole."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {k: _redacted(v) for k, v in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [_redacted(item) for item in cast("list[Any]", value)]
    return value


def _read(path: Path) -> list[Entry]:
    """Read the entries; a last line cut by a crash is left out."""
    entries: list[Entry] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entries.append(ENTRY.validate_json(line))
        except ValueError:
            continue
    return entries
