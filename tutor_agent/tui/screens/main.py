"""The one screen: conversation, run, plan, runs; which of them is seen depends on the width."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from textual import on
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.screen import Screen

from tutor_agent.actions.fix import FixProposal
from tutor_agent.core.advice import Advice
from tutor_agent.core.resources import state_dir
from tutor_agent.runs.view import RunView
from tutor_agent.tui.completion import Completer
from tutor_agent.tui.history import History
from tutor_agent.tui.widgets.bars import (
    TABS,
    Hints,
    QueueLine,
    RunStrip,
    TabBar,
    TopBar,
    in_trouble,
)
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.papers import PlanPaper
from tutor_agent.tui.widgets.piece import Piece, words_of
from tutor_agent.tui.widgets.popup import Popup
from tutor_agent.tui.widgets.prompt import Prompt
from tutor_agent.tui.widgets.run_panel import RunPanel
from tutor_agent.tui.widgets.runs_page import RunsPage
from tutor_agent.tui.widgets.transcript import Transcript

if TYPE_CHECKING:
    from pathlib import Path

    from textual.app import ComposeResult
    from textual.events import DescendantBlur, DescendantFocus, Key, Resize

    from tutor_agent.core.facts import Machine
    from tutor_agent.tui.watching import Snapshot
    from tutor_agent.tui.widgets.popup import Item

_WIDE = 100
_HINTS = (
    ("⏎", "hint.send"),
    ("esc", "hint.stop"),
    ("/", "hint.commands"),
    ("@", "hint.files"),
    ("F2", "hint.page"),
    ("F3", "hint.language"),
    ("F1", "hint.help"),
    ("^q", "hint.quit"),
)
_CARD_HINTS = (
    ("⏎", "hint.choose"),
    ("← →", "hint.move"),
    ("esc", "hint.back"),
    ("F1", "hint.help"),
)


class MainScreen(Screen[None]):
    """Lays everything out; knows no brain and no run."""

    DEFAULT_CSS = """
    MainScreen { background: $background; color: $value; layers: base above; }
    MainScreen #body { height: 1fr; }
    MainScreen #chat { width: 1fr; padding: 1 2 0 2; }
    MainScreen #run { width: 56; padding: 1 2 0 2; }
    MainScreen .page { width: 1fr; padding: 1 2 0 2; display: none; scrollbar-size: 1 1; }
    MainScreen.-wide.-hide-run #run { display: none; }
    MainScreen.-narrow TabBar { display: block; }
    MainScreen.-narrow #chat { padding: 0 1; }
    MainScreen.-narrow #run { width: 1fr; padding: 0 2; background: $background; display: none; }
    MainScreen.-narrow .page { padding: 0 2; }
    MainScreen.-narrow Transcript > * { margin-bottom: 0; }
    MainScreen.-narrow RunPanel Tiles, MainScreen.-narrow RunPanel LoadBars { margin: 0; }
    MainScreen.-narrow RunPanel #run-cards Card { margin: 0; }
    MainScreen.-narrow.-short RunPanel.-has-card LoadBars,
    MainScreen.-narrow.-short RunPanel.-has-card Legend { display: none; }
    MainScreen.-narrow.-short RunPanel Choices { margin: 0; }
    MainScreen.-narrow Prompt {
        border: none; border-top: solid $line; margin: 0; padding: 0 1;
    }
    MainScreen.-narrow Prompt:focus-within { border: none; border-top: solid $primary; }
    MainScreen.-narrow.-has-run RunStrip { display: block; }
    MainScreen.-narrow.tab-run #chat, MainScreen.-narrow.tab-plan #chat,
    MainScreen.-narrow.tab-runs #chat { display: none; }
    MainScreen.-narrow.tab-run #run, MainScreen.-narrow.tab-plan #plan,
    MainScreen.-narrow.tab-runs #runs { display: block; }
    MainScreen.-narrow.tab-run RunStrip { display: none; }
    """

    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (_WIDE, "-wide")]

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("f2", "page", show=False),
        *(Binding(f"alt+{n}", f"tab('{tab}')", show=False) for n, tab in enumerate(TABS, 1)),
    ]

    def __init__(self, workspace: Path) -> None:
        super().__init__()
        self._popup = Popup()
        self._completer = Completer(workspace)
        self._history = History(state_dir(workspace) / "prompt-history.jsonl")
        self.transcript = Transcript(id="chat")
        self.panel = RunPanel(id="run")
        self.prompt = Prompt(self._history, self._popup, self._complete)
        self.top = TopBar()
        self.queue = QueueLine()
        self._tabs = TabBar()
        self._strip = RunStrip()
        self._hints = Hints()
        self._plan = PlanPaper()
        self._runs = RunsPage(id="runs", classes="page")

    def compose(self) -> ComposeResult:
        """Bars above and below, pages between."""
        yield self.top
        yield self._tabs
        with Horizontal(id="body"):
            yield self.transcript
            yield self.panel
            with VerticalScroll(id="plan", classes="page"):
                yield self._plan
            yield self._runs
        yield self._strip
        yield self.queue
        yield self.prompt
        yield self._hints
        yield self._popup

    def on_mount(self) -> None:
        """Begin at the prompt."""
        self.add_class("tab-chat")
        self._hints.keys = _HINTS
        self.prompt.area.focus()

    @property
    def is_narrow(self) -> bool:
        """Whether the pages are tabs."""
        return self.size.width < _WIDE

    @property
    def tab(self) -> str:
        """The page that a narrow terminal shows."""
        return self._tabs.active

    def show_machine(self, machine: Machine) -> None:
        """Show what this machine is."""
        self.top.show_machine(machine)
        self.panel.show_machine(machine)

    def show_snapshot(self, snapshot: Snapshot) -> None:
        """Show the followed run as it stands."""
        view = snapshot.view
        self.panel.show(snapshot)
        points = snapshot.curves.train[-400:] if snapshot.curves else []
        self._strip.show(view, tuple(point.value for point in points))
        self.set_class(view is not None, "-has-run")
        self._tabs.alarm = in_trouble(view)

    def present(self, view: object) -> None:
        """Keep the newest plan on its page."""
        if isinstance(view, Advice):
            self._plan.show(view)

    def hides(self, view: object) -> bool:
        """Return whether the panel beside the conversation shows this very repair or result."""
        if self.is_narrow or self.has_class("-hide-run"):
            return False
        if isinstance(view, RunView):
            return self.panel.shows_result_of(view.name)
        card = self.panel.card
        return isinstance(view, FixProposal) and card is not None and card.proposal == view

    def ask(self, card: Card) -> None:
        """Show a card that waits for an answer; somebody who is typing is not disturbed."""
        self.transcript.append(card)
        self.go_to("chat")
        if not self.prompt.words.strip():
            card.call_after_refresh(card.focus)

    def go_to(self, tab: str) -> None:
        """Show a page (narrow), or the run panel (wide)."""
        for name in TABS:
            self.set_class(name == tab, f"tab-{name}")
        self._tabs.active = tab
        if tab == "run":
            self.remove_class("-hide-run")
        if tab == "runs":
            self._runs.reload()
            if self.is_narrow:
                self._runs.focus_list()
        else:
            self.prompt.area.focus()

    def reword(self) -> None:
        """Draw everything again: the language or the theme changed."""
        for piece in self.query("*"):
            if isinstance(piece, Piece | Card | Prompt):
                piece.reword()

    def action_page(self) -> None:
        """Next page (narrow), or run panel on and off (wide)."""
        if self.is_narrow:
            self.go_to(TABS[(TABS.index(self.tab) + 1) % len(TABS)])
        else:
            self.toggle_class("-hide-run")

    def action_tab(self, tab: str) -> None:
        """Go to a page."""
        self.go_to(tab)

    def on_resize(self, event: Resize) -> None:
        """A short terminal has no room for the load bars."""
        self.set_class(event.size.height < 30, "-short")
        self.call_after_refresh(self._place_popup)

    def on_key(self, event: Key) -> None:
        """Digits go to pages while nobody types; characters that nobody wants go to the prompt."""
        if self.prompt.area.has_focus or not event.character:
            return
        if self.is_narrow and event.key in {"1", "2", "3", "4"}:
            self.go_to(TABS[int(event.key) - 1])
        elif event.is_printable:
            self.prompt.area.focus()
            self.prompt.area.insert(event.character)
        else:
            return
        event.stop()

    @on(TabBar.Picked)
    def _tab_picked(self, event: TabBar.Picked) -> None:
        self.go_to(event.tab)

    @on(RunStrip.Clicked)
    def _strip_clicked(self) -> None:
        self.go_to("run")

    @on(Prompt.Scrolled)
    def _scrolled(self, event: Prompt.Scrolled) -> None:
        page = {
            "plan": self.query_one("#plan"),
            "runs": self._runs,
            "run": self.query_one("#run-cards"),
        }
        target = page.get(self.tab, self.transcript) if self.is_narrow else self.transcript
        target.scroll_relative(y=event.pages * max(1, target.size.height - 2), animate=False)

    @on(Card.Left)
    def _card_left(self) -> None:
        self.prompt.area.focus()

    @on(Card.Typed)
    def _card_typed(self, event: Card.Typed) -> None:
        self.prompt.area.focus()
        self.prompt.area.insert(event.character)

    @on(Popup.Clicked)
    def _popup_clicked(self, event: Popup.Clicked) -> None:
        self.prompt.take(event.item)
        self.prompt.area.focus()

    def on_descendant_focus(self, event: DescendantFocus) -> None:
        """Say what the keys do now."""
        del event
        self._hints.keys = _CARD_HINTS if isinstance(self.focused, Card) else _HINTS

    def on_descendant_blur(self, event: DescendantBlur) -> None:
        """Say what the keys do now."""
        del event
        self._hints.keys = _HINTS

    def _complete(self, typed: str, row: int) -> tuple[Item, ...]:
        items = self._completer(typed, words_of(self)) if row == 0 or "@" in typed else ()
        self.call_after_refresh(self._place_popup)
        return items

    def _place_popup(self) -> None:
        above = self.prompt.outer_size.height + 1
        self._popup.styles.margin = (0, 0, above, 1 if self.is_narrow else 2)
