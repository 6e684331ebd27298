"""What the person's words, commands and buttons do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.actions.fix import FixProposal
from tutor_agent.actions.runs import all_runs
from tutor_agent.brain.sessions import list_sessions, new_session, open_session
from tutor_agent.brain.talk import Verdict
from tutor_agent.core.advice import Advice
from tutor_agent.core.errors import TutorError
from tutor_agent.core.text import Text
from tutor_agent.tui.commands import BARE, looks_like_command, parse_command
from tutor_agent.tui.paint import line
from tutor_agent.tui.screens.paper import PaperScreen
from tutor_agent.tui.screens.pick import PickScreen
from tutor_agent.tui.talking import Grant, Turn
from tutor_agent.tui.widgets.approval_card import ApprovalCard
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard
from tutor_agent.tui.widgets.lines import Notice
from tutor_agent.tui.widgets.papers import DiffPaper, HelpPaper, PlanPaper
from tutor_agent.tui.widgets.pick_list import Entry
from tutor_agent.tui.widgets.plan_card import PlanCard
from tutor_agent.tui.widgets.runs_table import RunEntry

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.tui.app import TutorApp
    from tutor_agent.tui.widgets.card import Card


class Deeds:
    """Turns what was typed or pressed into turns of the talk, pages, and changes of the look."""

    def __init__(self, app: TutorApp) -> None:
        self._app = app
        self._deeds: dict[str, Callable[[str], None]] = {
            "help": self._help,
            "runs": self._runs,
            "brain": self._brain,
            "sessions": self._sessions,
            "new": self._new,
            "export": self._export,
            "lang": self._lang,
            "theme": self._theme,
            "quit": self._quit,
        }

    def submit(self, words: str) -> None:
        """Take what was sent from the prompt; nothing at all presses the newest card's button."""
        if not words.strip():
            self._press_newest()
            return
        self._app.main.go_to("chat")
        call = parse_command(BARE.get(words.strip().lower(), words))
        if call is not None:
            self.command(call.command.name, call.argument)
        elif looks_like_command(words):
            self.notice("command.unknown", name=words.split()[0])
        else:
            self._app.say(Turn(words=words))

    def command(self, name: str, argument: str) -> None:
        """Do what `/name argument` stands for."""
        deed = self._deeds.get(name)
        if deed is not None:
            deed(argument)
            return
        key = f"say.{name}" if argument else f"say.{name}_bare"
        words = self._app.words
        said = words(key, what=argument) if words.has(key) else f"{words(f'say.{name}', what='')}"
        self._app.say(Turn(words=said.strip()))

    def choose(self, card: Card, action: str) -> None:
        """Do what a card's button says."""
        match card:
            case ApprovalCard():
                self._approval(card, action)
            case PlanCard():
                self._plan(card, action)
            case DiagnosisCard(proposal=proposal) if proposal is not None:
                self._repair(card, proposal, action)
            case _:
                card.close()

    def _press_newest(self) -> None:
        cards = self._app.transcript.open_cards()
        panel = self._app.main.panel.card
        for card in [*cards, *([panel] if panel else [])]:
            if isinstance(card, ApprovalCard | DiagnosisCard):
                card.focus()
                return
            if card.choose("enter"):
                return

    def _approval(self, card: ApprovalCard, action: str) -> None:
        if action == "diff":
            preview = card.approval.preview
            self._show_details(preview)
        else:
            card.give(Verdict(action))

    def _show_details(self, preview: object) -> None:
        if isinstance(preview, FixProposal):
            self._app.push_screen(PaperScreen("diff.title", DiffPaper(preview)))
        elif isinstance(preview, Advice):
            self._app.push_screen(PaperScreen("plan.title", PlanPaper(preview)))

    def _plan(self, card: PlanCard, action: str) -> None:
        words, advice = self._app.words, card.advice
        if action == "start":
            card.close("plan.said_start")
            said = words("say.start", what=advice.plan.name)
            self._app.say(Turn(words=said, grant=Grant("start_run", advice.plan)))
        elif action == "change":
            self._app.main.prompt.write(words("plan.change_prefill"))
            self._app.main.prompt.area.focus()
        else:
            self._app.push_screen(PaperScreen("plan.reasons", PlanPaper(advice)))

    def _repair(self, card: DiagnosisCard, proposal: FixProposal, action: str) -> None:
        words = self._app.words
        if action == "apply":
            card.close("diagnosis.said_apply")
            said = words("say.fix", what=proposal.run)
            self._app.say(Turn(words=said, grant=Grant("apply_fix", proposal.after)))
        elif action == "diff":
            self._app.push_screen(PaperScreen("diff.title", DiffPaper(proposal)))
        else:
            card.close("diagnosis.said_dismiss")

    def _help(self, argument: str) -> None:
        del argument
        self._app.push_screen(PaperScreen("help.title", HelpPaper()))

    def _runs(self, argument: str) -> None:
        if argument:
            self._app.follow(argument)
            return
        entries = tuple(RunEntry(view) for view in all_runs(self._app.context))
        screen = PickScreen("runs.title", entries, empty="runs.none")
        self._app.push_screen(screen, lambda run: self._app.follow(run) if run else None)

    def _brain(self, argument: str) -> None:
        del argument
        name = self._app.talker.answers_with
        self.notice("brain.builtin" if name == "builtin" else "brain.model", name=name)

    def _sessions(self, argument: str) -> None:
        del argument
        workspace = self._app.context.workspace
        entries = tuple(_session_entry(i.id, i.title, i.updated) for i in list_sessions(workspace))
        screen = PickScreen("sessions.title", entries, empty="sessions.none")
        self._app.push_screen(screen, self._open_session)

    def _open_session(self, session: str | None) -> None:
        if session and session != self._app.session.id:
            self._app.open(open_session(self._app.context.workspace, session))

    def _new(self, argument: str) -> None:
        del argument
        self._app.open(new_session(self._app.context.workspace))

    def _export(self, argument: str) -> None:
        session = self._app.session
        workspace = self._app.context.workspace
        path = workspace / (argument or f"tutor-{session.id}.md")
        try:
            session.export(path, self._app.words.language)
        except (OSError, TutorError) as error:
            text = getattr(error, "text", Text.same(str(error)))
            self._app.transcript.remark(text, sign="✗", style="$trouble")
            return
        self.notice("export.done", path=str(path))

    def _lang(self, argument: str) -> None:
        other = "en" if self._app.words.language == "zh" else "zh"
        language = argument.lower() if argument.lower() in {"zh", "en"} else other
        self._app.set_language("zh" if language == "zh" else "en")

    def _theme(self, argument: str) -> None:
        names = {"dark": "deep", "deep": "deep", "light": "paper", "paper": "paper"}
        other = "paper" if self._app.theme == "deep" else "deep"
        self._app.set_theme(names.get(argument.lower(), other))

    def _quit(self, argument: str) -> None:
        del argument
        self._app.exit()

    def notice(self, key: str, **values: object) -> None:
        """Say something about the app itself."""
        self._app.transcript.append(Notice(key, **values))


def _session_entry(key: str, title: str, updated: float) -> Entry:
    when = time.strftime("%m-%d %H:%M", time.localtime(updated))
    shown = title or "–"
    return Entry(key, line((when, "$label"), "  "), Content.styled(shown, "$value"))
