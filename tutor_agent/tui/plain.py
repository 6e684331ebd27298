"""Line mode: the same conversation on plain streams, without an escape code."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING, TextIO

from tutor_agent.actions.fix import FixProposal
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.sessions import new_session, open_session
from tutor_agent.brain.talk import Progress, Said, Trouble, Used, Using, Verdict
from tutor_agent.core.advice import Advice
from tutor_agent.core.findings import Diagnosis
from tutor_agent.tui.changes import change_words
from tutor_agent.tui.paint import pad
from tutor_agent.tui.widgets.diagnosis_card import diagnosis_rows
from tutor_agent.tui.widgets.plan_card import plan_rows
from tutor_agent.tui.wording import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.brain.sessions import Session
    from tutor_agent.brain.talk import Approval, TalkEvent
    from tutor_agent.tui.talking import Talk

_LEAVE = frozenset({"exit", "quit", "q", "/quit", "/exit", "退出"})
_YES = frozenset({"y", "yes", "是", "好"})
_ALWAYS = frozenset({"always", "总是"})
_WIDTH = 100
_LABELS = 11


def run_plain(
    context: Context,
    session_id: str | None = None,
    *,
    talk: Callable[[Context, Session], Talk] = Conversation,
) -> None:
    """Talk on stdin and stdout until the person leaves or the input ends."""
    os.environ["PYDANTIC_AI_NO_BANNER"] = "1"
    workspace = context.workspace
    session = open_session(workspace, session_id) if session_id else new_session(workspace)
    face = PlainFace(Words(context.language), sys.stdin, sys.stdout)
    asyncio.run(face.run(talk(context, session)))
    if session.entries:
        face.write(face.words("plain.bye", id=session.id))


class PlainFace:
    """Reads lines, writes lines."""

    def __init__(self, words: Words, source: TextIO, target: TextIO) -> None:
        self.words = words
        self._source = source
        self._target = target
        self._midline = False

    async def run(self, talk: Talk) -> None:
        """Take turns until there is no more input."""
        self.write(self.words("plain.intro"))
        while (line := await self._read("> ")) is not None:
            said = line.strip()
            if said.lower() in _LEAVE:
                return
            if said:
                async for event in talk.send(said, self._approve):
                    self._show(event)
                self._end_line()

    def write(self, words: str) -> None:
        """Write a line."""
        self._end_line()
        self._target.write(f"{words}\n")
        self._target.flush()

    def _show(self, event: TalkEvent) -> None:
        match event:
            case Said(text=text):
                self._target.write(text)
                self._target.flush()
                self._midline = not text.endswith("\n")
            case Using(title=title):
                self.write(f"… {self.words.of(title)}")
            case Progress(text=text):
                self.write(f"  {self.words.of(text)}")
            case Used(result=result, ok=ok):
                self.write(f"{'✓' if ok else '✗'} {self.words.of(result.summary)}")
                if ok:
                    self._show_view(result.view)
            case Trouble(text=text):
                self.write(f"! {self.words.of(text)}")
            case _:
                pass

    async def _approve(self, approval: Approval) -> Verdict:
        self.write(f"? {self.words.of(approval.title)}")
        if approval.summary:
            self.write(f"  {self.words.of(approval.summary)}")
        self._show_view(approval.preview)
        answer = (await self._read(self.words("plain.approve")) or "").strip().lower()
        if answer in _ALWAYS:
            return Verdict.always
        if answer in _YES:
            return Verdict.once
        self.write(self.words("plain.denied"))
        return Verdict.no

    def _show_view(self, view: object) -> None:
        if isinstance(view, Advice):
            for label, value in plan_rows(view, self.words, _WIDTH):
                self.write(f"  {label}: {value.plain.replace('━', '').strip()}")
        elif isinstance(view, FixProposal):
            for change in change_words(view.before, view.after, self.words):
                self.write(f"  {change.plain}")
        elif isinstance(view, Diagnosis) and view.findings:
            for label, value in diagnosis_rows(view, self.words):
                self.write(f"  {pad(label, _LABELS)}{value.plain}")

    async def _read(self, prompt: str) -> str | None:
        self._end_line()
        self._target.write(prompt)
        self._target.flush()
        line = await asyncio.to_thread(self._source.readline)
        if not line:
            self._midline = True
            self._end_line()
            return None
        return line

    def _end_line(self) -> None:
        if self._midline:
            self._target.write("\n")
            self._midline = False
