"""Drives the turns of a conversation: one at a time, the rest waits in a queue."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tutor_agent.actions.fix import FixProposal
from tutor_agent.brain.talk import Ended, Progress, Said, Trouble, Used, Using, Verdict
from tutor_agent.core.advice import Advice
from tutor_agent.runs.view import RunView
from tutor_agent.tui.widgets.approval_card import ApprovalCard
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.facts_view import FactsView
from tutor_agent.tui.widgets.plan_card import PlanCard
from tutor_agent.tui.widgets.views import widgets_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from textual.widget import Widget

    from tutor_agent.brain.history import NoticeEntry
    from tutor_agent.brain.talk import Approval, Approve, TalkEvent
    from tutor_agent.core.plan import Plan
    from tutor_agent.tui.widgets.tool_line import ToolLine
    from tutor_agent.tui.widgets.transcript import Transcript


class Talk(Protocol):
    """What a conversation offers; `brain.conversation.Conversation` is one."""

    @property
    def answers_with(self) -> str:
        """Name of the model that answers; `builtin` without one."""
        ...

    def load(self) -> None:
        """Import what is slow; called in a thread."""
        ...

    def send(self, words: str, approve: Approve) -> AsyncIterator[TalkEvent]:
        """Answer the person."""
        ...

    def notify(self, notice: NoticeEntry, approve: Approve) -> AsyncIterator[TalkEvent]:
        """Speak up about a run."""
        ...

    def interrupt(self) -> bool:
        """Cut the current turn short."""
        ...


@dataclass(frozen=True)
class Grant:
    """Permission given beforehand by pressing a card's button: for this tool and this very plan."""

    tool: str
    plan: Plan

    def covers(self, approval: Approval) -> bool:
        """Return whether what is asked is what the person saw and pressed."""
        match approval.preview:
            case Advice(plan=plan):
                return approval.tool == self.tool and plan == self.plan
            case FixProposal(after=plan):
                return approval.tool == self.tool and plan == self.plan
            case _:
                return False


@dataclass(frozen=True)
class Turn:
    """Something to be answered: words of the person, or news of a run."""

    words: str = ""
    notice: NoticeEntry | None = None
    grant: Grant | None = None


class Stage(Protocol):
    """Where a turn is shown."""

    @property
    def transcript(self) -> Transcript:
        """The conversation on the screen."""
        ...

    def ask(self, card: Card) -> None:
        """Show a card that waits, and bring the person to it."""
        ...

    def present(self, view: object) -> None:
        """Learn what a tool gave: the page of plans and the run panel follow it."""
        ...

    def hides(self, view: object) -> bool:
        """Return whether the view is on the screen elsewhere."""
        ...

    def talk_changed(self, *, answered_by: str | None = None) -> None:
        """Learn that a turn began or ended, or that the queue changed."""
        ...


class Talker:
    """Takes turns, shows their events, asks for permission."""

    def __init__(self, talk: Talk, stage: Stage) -> None:
        self._talk = talk
        self._stage = stage
        self._queue: list[Turn] = []
        self._current: Turn | None = None
        self._granted: Grant | None = None
        self._facts: list[tuple[Widget, ToolLine | None]] = []
        self._held: list[Card] = []
        self._told: dict[str, str] = {}

    @property
    def answers_with(self) -> str:
        """Name of the model that answers."""
        return self._talk.answers_with

    def load(self) -> None:
        """Import what is slow; called in a thread."""
        self._talk.load()

    @property
    def busy(self) -> bool:
        """Whether a turn is under way."""
        return self._current is not None

    @property
    def waiting(self) -> tuple[str, ...]:
        """Words that wait for their turn."""
        return tuple(turn.words for turn in self._queue if turn.words)

    def put(self, turn: Turn) -> bool:
        """Queue a turn; True when somebody must call `drain`."""
        self._queue.append(turn)
        self._stage.talk_changed()
        return self._current is None and len(self._queue) == 1

    def interrupt(self) -> bool:
        """Cut the current turn short; False when there is none."""
        return self.busy and self._talk.interrupt()

    async def drain(self) -> None:
        """Take turns until the queue is empty; news that a tool has just told is no news."""
        while self._queue:
            turn = self._queue.pop(0)
            if turn.notice is not None and self._told.get(turn.notice.run) == turn.notice.happened:
                continue
            self._current = turn
            self._stage.talk_changed()
            try:
                await self._take(turn)
            finally:
                self._current = self._granted = None
                self._facts = []
                if self._stage.transcript.is_attached:
                    self._lay_down()
                    self._stage.transcript.end_turn()
                    self._stage.talk_changed()

    async def _take(self, turn: Turn) -> None:
        self._granted = turn.grant
        if turn.notice is not None:
            events = self._talk.notify(turn.notice, self._approve)
        else:
            self._stage.transcript.add_user(turn.words)
            events = self._talk.send(turn.words, self._approve)
        async for event in events:
            self._show(event)

    def _show(self, event: TalkEvent) -> None:
        transcript = self._stage.transcript
        match event:
            case Said(text=text):
                transcript.say(text)
            case Using(call=call, title=title):
                transcript.begin_tool(call, title)
            case Progress(text=text):
                transcript.progress(text)
            case Used(call=call, result=result, ok=ok):
                tool = transcript.end_tool(call, result.summary, ok=ok)
                if ok:
                    self._present(result.view, tool)
            case Trouble(text=text):
                transcript.remark(text, sign="!", style="bold $caution")
            case Ended(answered_by=name, interrupted=interrupted):
                self._stage.talk_changed(answered_by=name)
                if interrupted:
                    transcript.interrupted()

    def _present(self, view: object, tool: ToolLine | None) -> None:
        self._stage.present(view)
        if isinstance(view, RunView):
            self._told[view.name] = view.state
        if isinstance(view, Advice):
            self._make_room_for_plan()
        if self._stage.hides(view):
            return
        widgets = widgets_for(view)
        if tool is not None:
            tool.shorten(brief=bool(widgets))
        for widget in widgets:
            if isinstance(widget, Card):
                self._held.append(widget)
                continue
            self._stage.transcript.append(widget, below=tool)
            if isinstance(widget, FactsView):
                self._facts.append((widget, tool))

    def _lay_down(self) -> None:
        """Show the cards of the turn below its words, beside the prompt where they are answered."""
        held, self._held = self._held, []
        for card in held:
            self._stage.transcript.append(card)

    def _make_room_for_plan(self) -> None:
        """A new plan closes the older cards; the facts it rests on shrink to their lines."""
        self._held = [card for card in self._held if not isinstance(card, PlanCard)]
        for card in self._stage.transcript.open_cards():
            if isinstance(card, PlanCard):
                card.close("plan.replaced")
        for widget, tool in self._facts:
            widget.display = False
            if tool is not None:
                tool.shorten(brief=False)
        self._facts = []
        self._stage.transcript.tighten()

    async def _approve(self, approval: Approval) -> Verdict:
        if self._granted is not None and self._granted.covers(approval):
            self._granted = None
            return Verdict.once
        answer: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        card = ApprovalCard(approval, answer)
        self._lay_down()
        self._stage.ask(card)
        try:
            return await answer
        finally:
            card.close("approval.said_no")
