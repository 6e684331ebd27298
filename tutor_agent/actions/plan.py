"""Make a plan, change it, explain it."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from tutor_agent.actions.inspect import see_data, see_machine, see_model
from tutor_agent.advise.planner import make_advice, revise
from tutor_agent.core.changes import PlanChange, flatten
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.facts import Facts, Goal
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.advice import Advice, Why
    from tutor_agent.core.plan import Plan


class PlanRequest(Contract):
    """What a plan is made from."""

    goal: Goal = Goal()
    """What the person wants."""
    model: str
    """A local folder, a model id, or a catalogue name."""
    data: str
    """The data file."""
    machine: str | None = None
    """A machine in words (`4xA100-80G`); this one when absent."""
    name: str | None = None
    """Name of the plan; derived from the data when absent."""
    change: PlanChange = PlanChange()
    """Fields the person has already decided."""


def gather(context: Context, request: PlanRequest) -> Facts:
    """Collect the facts that a plan rests on."""
    return Facts(
        goal=request.goal,
        machine=see_machine(context, request.machine),
        model=see_model(context, request.model),
        data=see_data(context, request.data),
    )


def make_plan(context: Context, request: PlanRequest) -> Advice:
    """Recommend a strategy and write its plan, with a reason and a source for every value."""
    facts = gather(context, request)
    skills = find_skills(context.workspace)
    return make_advice(facts, skills, change=request.change, name=request.name)


def change_plan(
    context: Context,
    plan: Plan,
    why: dict[str, Why],
    change: PlanChange,
    machine: str | None = None,
) -> Advice:
    """Apply the person's change to a plan and price it anew."""
    request = PlanRequest(
        goal=Goal(task=plan.task, skill=plan.skill, language=context.language),
        model=plan.model.source,
        data=plan.data.train,
        machine=machine,
    )
    return revise(plan, why, change, gather(context, request), find_skills(context.workspace))


def why_field(plan: Plan, why: dict[str, Why], field: str) -> tuple[str, Why]:
    """Return the full path and the reason of a plan field; its last name is enough.

    Raises:
        NotFoundError: The plan has no such field, or no reason was recorded for it.
    """
    paths = [path for path in why if path == field or path.endswith(f".{field}")]
    if paths:
        return paths[0], why[paths[0]]
    known = sorted(why or flatten(plan))
    near = difflib.get_close_matches(field, [path.split(".")[-1] for path in known], n=3) or known
    raise NotFoundError(
        f"No reason is recorded for {field!r}. Ask about one of: {', '.join(near[:12])}.",
        f"没有记录 {field!r} 的理由。可以问：{'、'.join(near[:12])}。",
    )
