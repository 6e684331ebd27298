"""Which widget draws what a tool gave."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from tutor_agent.actions.check import CheckItem
from tutor_agent.actions.fix import FixProposal
from tutor_agent.actions.runs import Comparison
from tutor_agent.core.advice import Advice
from tutor_agent.core.facts import DataFacts, Machine, ModelFacts
from tutor_agent.core.findings import Diagnosis
from tutor_agent.core.forecast import Forecast
from tutor_agent.runs.view import RunView
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard
from tutor_agent.tui.widgets.facts_view import FactsView
from tutor_agent.tui.widgets.plan_card import PlanCard
from tutor_agent.tui.widgets.result_card import ResultCard
from tutor_agent.tui.widgets.rows_view import ChecksView, ComparisonView, ForecastView
from tutor_agent.tui.widgets.runs_table import RunsTable

if TYPE_CHECKING:
    from textual.widget import Widget


def widgets_for(view: object) -> list[Widget]:
    """Return the widgets that draw `view`; none when its summary says it all."""
    match view:
        case Advice():
            return [PlanCard(view)]
        case FixProposal():
            return [DiagnosisCard.of_proposal(view)]
        case Diagnosis() if view.findings:
            return [DiagnosisCard.of_verdict(view)]
        case RunView() if view.held_out_after is not None:
            return [ResultCard(view)]
        case Machine() | ModelFacts() | DataFacts():
            return [FactsView(view)]
        case Forecast():
            return [ForecastView(view)]
        case Comparison():
            return [ComparisonView(view)]
        case tuple() | list():
            return _widgets_for_many(tuple(cast("tuple[object, ...]", view)))
        case _:
            return []


def _widgets_for_many(items: tuple[object, ...]) -> list[Widget]:
    runs = tuple(item for item in items if isinstance(item, RunView))
    if runs:
        return [RunsTable(runs)]
    checks = tuple(item for item in items if isinstance(item, CheckItem))
    return [ChecksView(checks)] if checks else []
