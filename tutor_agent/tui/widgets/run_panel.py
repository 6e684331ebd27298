"""The panel of the followed run: header, chart, figures, load, diagnosis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.containers import Vertical, VerticalScroll
from textual.content import Content
from textual.reactive import reactive

from tutor_agent.tui.paint import hanging, line, lines, wrap
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard
from tutor_agent.tui.widgets.facts_view import machine_rows
from tutor_agent.tui.widgets.loads import LoadBars
from tutor_agent.tui.widgets.loss_chart import LossChart
from tutor_agent.tui.widgets.piece import Piece
from tutor_agent.tui.widgets.repairs import Repairs
from tutor_agent.tui.widgets.result_card import ResultCard
from tutor_agent.tui.widgets.run_header import RunHeader
from tutor_agent.tui.widgets.tiles import Tiles

if TYPE_CHECKING:
    from textual.app import ComposeResult

    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.core.facts import Machine
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.text import Text
    from tutor_agent.runs.curves import Curves
    from tutor_agent.runs.view import RunView
    from tutor_agent.tui.watching import Snapshot
    from tutor_agent.tui.widgets.card import Card


class Legend(Piece):
    """What the signs of the chart mean."""

    DEFAULT_CSS = """
    Legend { height: 1; }
    """

    fault: reactive[bool] = reactive(default=False)
    """Whether there is a fault to explain."""
    waiting: reactive[str] = reactive("")
    """What happens before the first step, while the chart has nothing to show."""

    def paint(self, width: int) -> Content:
        """Draw sign and name of each."""
        words = self.words
        if self.waiting:
            said = words(f"waiting.{self.waiting}")
            return line(("      ", ""), (said, "$detail")).truncate(width)
        return line(
            ("      ━ ", "$primary"),
            (words("legend.train"), "$label"),
            ("   ◆ ", "$caution"),
            (words("legend.validation"), "$label"),
            *([("   ┊ ", "$trouble"), (words("legend.fault"), "$label")] if self.fault else ()),
        ).truncate(width)


class Nothing(Piece):
    """What the panel shows before the first run: the machine, and what will be here."""

    def __init__(self) -> None:
        super().__init__()
        self.machine: Machine | None = None

    def show(self, machine: Machine) -> None:
        """Show the machine."""
        self.machine = machine
        self.refresh(layout=True)

    def paint(self, width: int) -> Content:
        """Draw both."""
        words = self.words
        head = Content.styled(words("run.none_title"), "bold $value")
        parts = [head, Content(""), *wrap(Content.styled(words("run.none"), "$detail"), width)]
        if self.machine is not None:
            from_machine = machine_rows(self.machine, words)
            title = Content.styled(words("run.machine"), "bold $value")
            parts += [Content(""), Content(""), title, Content(""), hanging(from_machine, width)]
        return lines(*parts)


def _waiting(view: RunView, curves: Curves) -> str:
    if not view.active or curves.train:
        return ""
    return "loading" if view.total_steps is None else "measuring"


class RunPanel(Vertical):
    """Shows snapshots of the followed run."""

    DEFAULT_CSS = """
    RunPanel { background: $surface; }
    RunPanel #run-live { height: 1fr; }
    RunPanel #run-cards { height: auto; max-height: 70%; scrollbar-size: 1 1; }
    RunPanel #run-cards Card { margin: 1 0 0 0; }
    """

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's own name
        super().__init__(id=id)
        self._run: str | None = None
        self._shown: object = None

    def compose(self) -> ComposeResult:
        """All parts; what fits is decided by the size."""
        yield Nothing()
        with Vertical(id="run-live"):
            yield RunHeader()
            yield Legend()
            yield LossChart()
            yield Tiles()
            yield Repairs()
            yield LoadBars()
            yield VerticalScroll(id="run-cards", can_focus=False)

    def on_mount(self) -> None:
        """Begin without a run."""
        self.query_one("#run-live").display = False

    @property
    def card(self) -> DiagnosisCard | None:
        """The diagnosis that is shown, while it is open."""
        cards = [card for card in self.query(DiagnosisCard) if card.open]
        return cards[0] if cards else None

    def shows_result_of(self, run: str) -> bool:
        """Return whether the result of that run is on the panel."""
        return self._shown == (run, "result")

    def show_machine(self, machine: Machine) -> None:
        """Show the machine while there is no run."""
        self.query_one(Nothing).show(machine)

    def show(self, snapshot: Snapshot) -> None:
        """Show the followed run as it stands."""
        view, curves = snapshot.view, snapshot.curves
        self.query_one(Nothing).display = view is None
        self.query_one("#run-live").display = view is not None
        if view is None or curves is None:
            self._run = None
            return
        chart = self.query_one(LossChart)
        if view.name != self._run:
            self._run = view.name
            chart.clear()
            self._clear_cards()
        self.query_one(RunHeader).show(view)
        chart.follow(curves, view.total_steps)
        if view.state == "halted":
            chart.mark_fault(view.step)
        legend = self.query_one(Legend)
        legend.fault = chart.series.has_fault
        legend.waiting = _waiting(view, curves)
        self.query_one(Tiles).show(view, curves)
        self.query_one(Repairs).show(view)
        self.query_one(LoadBars).show(snapshot.loads)
        self.query_one(LoadBars).display = view.active or not (view.findings or view.samples)
        if view.state == "completed" and not view.findings:
            self._show_result(snapshot)

    def show_finding(
        self, finding: Finding, proposal: FixProposal | None, story: tuple[Text, ...] = ()
    ) -> None:
        """Show what went wrong, in place of what was shown before."""
        key = (self._run, finding.cause, proposal is not None, bool(story))
        if key != self._shown:
            self._clear_cards()
            self._shown = key
            self._put(DiagnosisCard(finding, proposal, story=story, brief=True))

    def _show_result(self, snapshot: Snapshot) -> None:
        view = snapshot.view
        key = (self._run, "result")
        if view is not None and key != self._shown:
            self._clear_cards()
            self._shown = key
            self._put(ResultCard(view, samples=2 if self.size.height > 24 else 0))

    def _put(self, card: Card) -> None:
        self.add_class("-has-card")
        self.query_one("#run-cards").mount(card)

    def _clear_cards(self) -> None:
        self._shown = None
        self.remove_class("-has-card")
        self.query_one("#run-cards").remove_children()
