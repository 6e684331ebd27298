"""What the person chose for the look: language and theme, kept in their configuration folder."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Literal

from tutor_agent.brain.builtin import language_of
from tutor_agent.brain.sessions import last_session
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError
from tutor_agent.core.resources import config_dir
from tutor_agent.core.settings import load_settings
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Language

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.sessions import Session


class Look(Contract):
    """The chosen look."""

    language: Language | None = None
    """Language of the app; None follows the command line and the locale."""
    theme: Literal["deep", "paper"] = "deep"
    """`deep` or `paper`."""


def load_look() -> Look:
    """Read the choice; an unreadable file counts as none."""
    try:
        return Look.parse(json.loads(_path().read_text(encoding="utf-8")), str(_path()))
    except (OSError, ValueError, TutorError):
        return Look()


def save_look(look: Look) -> None:
    """Keep the choice; a folder that cannot be written costs only the memory of it."""
    with contextlib.suppress(OSError):
        write_atomic(_path(), look.model_dump_json())


def opening_language(context: Context, session: Session) -> Language:
    """Return the language to begin in: the configured one, else that of what the person said last."""
    before = session if session.entries else last_session(context.workspace)
    if before is None or load_settings().language is not None:
        return context.language
    return language_of(before.entries, context.language)


def _path() -> Path:
    return config_dir() / "look.json"
