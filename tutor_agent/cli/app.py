"""Open the app, or the line mode where there is no terminal for it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.text import Language


def open_app(
    context: Context,
    *,
    plain: bool,
    resume: bool,
    session: str | None,
    language: Language | None,
) -> int:
    """Start the conversation. Textual would hang on a pipe, so all three streams must be terminals."""
    from tutor_agent.brain.sessions import list_sessions

    if resume and session is None:
        session = next((info.id for info in list_sessions(context.workspace)), None)
    if plain or not _is_terminal():
        from tutor_agent.tui.plain import run_plain

        run_plain(context, session)
        return 0
    from tutor_agent.tui.app import TutorApp

    TutorApp(context, session, language=language).run()
    return 0


def _is_terminal() -> bool:
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return os.environ.get("TERM") != "dumb" and all(stream.isatty() for stream in streams)
