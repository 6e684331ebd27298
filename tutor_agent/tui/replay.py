"""Draws a saved conversation again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.brain.history import CallEntry, NoticeEntry, ResultEntry, TutorEntry, UserEntry
from tutor_agent.brain.tools import TOOLS
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.brain.sessions import Session
    from tutor_agent.tui.widgets.transcript import Transcript

_TITLES = {tool.name: tool.title for tool in TOOLS}
_SHOWN = 120


def replay(session: Session, transcript: Transcript) -> None:
    """Show the latest entries of `session`: words and tool lines; cards belong to their moment."""
    for entry in session.entries[-_SHOWN:]:
        match entry:
            case UserEntry(words=words):
                transcript.add_user(words)
            case TutorEntry(words=words):
                transcript.say(words)
                transcript.end_answer()
            case CallEntry(call=call, tool=tool):
                transcript.begin_tool(call, _TITLES.get(tool, Text.same(tool)))
            case ResultEntry(call=call, summary=summary):
                transcript.end_tool(call, summary, ok=entry.ok)
            case NoticeEntry(text=text):
                transcript.remark(text)
            case _:
                pass
    transcript.end_turn()
