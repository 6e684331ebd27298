"""The app: a conversation on the left, the run on the right."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import time
from typing import TYPE_CHECKING, ClassVar

from textual import on, work
from textual.app import App
from textual.binding import Binding, BindingType

from tutor_agent.actions.fix import propose_fix
from tutor_agent.actions.inspect import see_machine
from tutor_agent.actions.runs import all_runs
from tutor_agent.brain.builtin.paste import language_of_message
from tutor_agent.brain.conversation import Conversation
from tutor_agent.brain.sessions import new_session, open_session
from tutor_agent.brain.tools.sheets import load_sheet
from tutor_agent.core.errors import TutorError
from tutor_agent.core.resources import state_dir
from tutor_agent.diagnose.repair import main_finding
from tutor_agent.runs.view import RunView
from tutor_agent.tui.deeds import Deeds
from tutor_agent.tui.guard import guarded_stderr
from tutor_agent.tui.news import notices
from tutor_agent.tui.replay import replay
from tutor_agent.tui.screens.main import MainScreen
from tutor_agent.tui.settings import Look, load_look, opening_language, save_look
from tutor_agent.tui.talking import Talker, Turn
from tutor_agent.tui.theme import DEEP, THEMES
from tutor_agent.tui.watching import RunWatch
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.pick_list import PickList
from tutor_agent.tui.widgets.prompt import Prompt
from tutor_agent.tui.widgets.runs_page import RunsPage
from tutor_agent.tui.widgets.runs_table import RunEntry
from tutor_agent.tui.widgets.welcome import Welcome
from tutor_agent.tui.wording import Words

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context
    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.brain.sessions import Session
    from tutor_agent.core.facts import Machine
    from tutor_agent.core.text import Language
    from tutor_agent.tui.talking import Talk
    from tutor_agent.tui.watching import Snapshot
    from tutor_agent.tui.widgets.transcript import Transcript

WATCH_SECONDS = 0.35


def _trouble(view: RunView) -> tuple[object, ...]:
    """Return what the card about a run depends on."""
    return view.findings, view.state, view.story, view.repaired_by


class TutorApp(App[None]):
    """Holds the conversation, the watch over the runs, and the look."""

    ENABLE_COMMAND_PALETTE = False
    TITLE = "tutor"

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f1", "deed('help')", show=False),
        Binding("f3", "deed('lang')", show=False),
        Binding("f4", "deed('theme')", show=False),
        Binding("ctrl+r", "deed('sessions')", show=False),
        Binding("ctrl+q", "quit", show=False, priority=True),
    ]

    def __init__(
        self,
        context: Context,
        session_id: str | None = None,
        *,
        talk: Callable[[Context, Session], Talk] = Conversation,
        language: Language | None = None,
    ) -> None:
        super().__init__()
        self._look = load_look()
        workspace = context.workspace
        session = open_session(workspace, session_id) if session_id else new_session(workspace)
        self.session = session
        self._chosen_language = language or self._look.language
        language = self._chosen_language or opening_language(context, session)
        self.context = dataclasses.replace(context, language=language)
        self.words = Words(language)
        self._make_talk = talk
        self._seen: Snapshot | None = None
        self.watch_runs = RunWatch(self.context.runs)
        self.talker = Talker(self._make_talk(self.context, session), self)
        self.deeds = Deeds(self)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Know our variables before our themes are worn."""
        return dict(DEEP.variables)

    def run(self, *args: object, **kwargs: object) -> None:
        """Run until the person leaves, then say how to come back."""
        os.environ["PYDANTIC_AI_NO_BANNER"] = "1"
        with guarded_stderr(state_dir(self.context.workspace) / "stderr.log"):
            super().run()
        if self.session.entries:
            sys.stdout.write(self.words("exit.resume", id=self.session.id) + "\n")

    def on_mount(self) -> None:
        """Paint first, then load what is slow."""
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._look.theme
        self.main = MainScreen(self.context.workspace)
        self.push_screen(self.main)
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        self._fill_transcript()
        self._show_last_plan()
        self._load_brain()
        self._look_at_machine()
        self._watch()

    def _fill_transcript(self) -> None:
        if self.session.entries:
            replay(self.session, self.transcript)
        else:
            self.transcript.append(Welcome())
        self.main.top.title = self.session.title

    def _show_last_plan(self) -> None:
        with contextlib.suppress(TutorError):
            self.main.present(load_sheet(self.context.workspace).advice)

    # -- the stage of the talker -------------------------------------------------------------

    @property
    def transcript(self) -> Transcript:
        """The conversation on the screen."""
        return self.main.transcript

    def ask(self, card: Card) -> None:
        """Show a card that waits."""
        self.main.ask(card)

    def present(self, view: object) -> None:
        """Keep plans on their page; follow a run that has just been started."""
        self.main.present(view)
        if isinstance(view, RunView) and view.active:
            self.watch_runs.choose(view.name)

    def hides(self, view: object) -> bool:
        """Return whether the view is on the screen elsewhere."""
        return self.main.hides(view)

    def talk_changed(self, *, answered_by: str | None = None) -> None:
        """Show who answers, whether somebody is answering, and what waits."""
        bar = self.main.top
        bar.busy = self.talker.busy
        if answered_by:
            bar.brain = answered_by
        if self.session.title:
            bar.title = self.session.title
        self.main.queue.show(self.talker.waiting)

    def say(self, turn: Turn) -> None:
        """Hand a turn to the tutor, in the language of the person until they have chosen one."""
        if self._chosen_language is None and turn.words:
            self._speak(language_of_message(turn.words, self.words.language))
        if self.talker.put(turn):
            self._drain()

    @work(group="turn", exit_on_error=True)
    async def _drain(self) -> None:
        await self.talker.drain()

    # -- what the person does ----------------------------------------------------------------

    @on(Prompt.Submitted)
    def _submitted(self, event: Prompt.Submitted) -> None:
        self.deeds.submit(event.words)

    @on(Prompt.Interrupted)
    def _interrupted(self) -> None:
        if not self.talker.interrupt() and self.main.is_narrow:
            self.main.go_to("chat")

    @on(Prompt.Left)
    def action_help_quit(self) -> None:
        """On ^c stop the answer; with none under way, say how to leave."""
        if not self.talker.interrupt():
            self.deeds.notice("hint.how_to_leave")

    @on(Card.Chosen)
    def _chosen(self, event: Card.Chosen) -> None:
        self.deeds.choose(event.card, event.action)

    @on(PickList.Picked)
    def _run_picked(self, event: PickList.Picked) -> None:
        self.follow(event.key)

    def action_deed(self, name: str) -> None:
        """Do what a slash command does."""
        self.deeds.command(name, "")

    def follow(self, run: str) -> None:
        """Show a run."""
        self.watch_runs.choose(run)
        self.main.go_to("run")

    def set_language(self, language: Language) -> None:
        """Speak another language from now on."""
        self._chosen_language = language
        self._keep(self._look.model_copy(update={"language": language}))
        self._speak(language)

    def _speak(self, language: Language) -> None:
        if language != self.words.language:
            self.words = Words(language)
            self.context = dataclasses.replace(self.context, language=language)
            self.main.reword()

    def set_theme(self, name: str) -> None:
        """Put on another face."""
        self._keep(self._look.model_copy(update={"theme": name}))
        self.theme = name
        self.call_after_refresh(self.main.reword)

    def _keep(self, look: Look) -> None:
        self._look = look
        save_look(look)

    def open(self, session: Session) -> None:
        """Go on with another conversation."""
        self.talker.interrupt()
        self.session = session
        self.talker = Talker(self._make_talk(self.context, session), self)
        self.transcript.remove_children()
        self._fill_transcript()
        self._load_brain()

    # -- what happens beside it --------------------------------------------------------------

    @work(thread=True, group="brain", exit_on_error=False)
    def _load_brain(self) -> None:
        talker = self.talker
        talker.load()
        self.call_from_thread(self.talk_changed, answered_by=talker.answers_with)

    @work(thread=True, group="machine", exit_on_error=False)
    def _look_at_machine(self) -> None:
        machine: Machine = see_machine(self.context)
        self.call_from_thread(self.main.show_machine, machine)

    @work(thread=True, group="watch", exit_on_error=False)
    def _watch(self) -> None:
        while self.is_running:
            snapshot = self.watch_runs.look()
            self.call_from_thread(self._show_snapshot, snapshot)
            self._examine(snapshot)
            time.sleep(WATCH_SECONDS)

    def _show_snapshot(self, snapshot: Snapshot) -> None:
        if snapshot == self._seen:
            return
        self._seen = snapshot
        self.main.show_snapshot(snapshot)
        for notice in notices(snapshot):
            self.bell()
            self.say(Turn(notice=notice))

    def _examine(self, snapshot: Snapshot) -> None:
        """Work out the repair of a run that has found trouble (in the watching thread)."""
        view, before = snapshot.view, snapshot.before
        if view is None or not view.findings:
            return
        if before is not None and _trouble(before) == _trouble(view):
            return
        proposal = None if view.active else self._proposal(view)
        finding = proposal.finding if proposal else main_finding(view.findings, view.cause)
        if finding is not None:
            show = self.main.panel.show_finding
            self.call_from_thread(show, finding, proposal, view.story)

    def _proposal(self, view: RunView) -> FixProposal | None:
        try:
            return propose_fix(self.context, view.name)
        except TutorError:
            return None

    @on(RunsPage.Wanted)
    def _runs_wanted(self, event: RunsPage.Wanted) -> None:
        self._read_runs(event.page)

    @work(thread=True, group="runs", exclusive=True, exit_on_error=False)
    def _read_runs(self, page: RunsPage) -> None:
        entries = tuple(RunEntry(view) for view in all_runs(self.context))
        self.call_from_thread(page.fill, entries)
