"""What a plan will cost on a machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts, Machine, ModelFacts
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Plan
    from tutor_agent.estimate.footprint import Footprint


def forecast(
    plan: Plan, model: ModelFacts, machine: Machine, footprint: Footprint, data: DataFacts | None
) -> Forecast:
    """Return memory, time and disk of `plan`, each with its spread."""
    raise NotImplementedError
