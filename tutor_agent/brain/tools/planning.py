"""Tools that plan: make, change, explain, estimate."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from tutor_agent.actions import estimate as estimating
from tutor_agent.actions import plan as planning
from tutor_agent.actions.runs import show_run
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.brain.tools.sheets import PlanSheet, load_sheet, save_sheet
from tutor_agent.brain.wording import duration, number, parameters
from tutor_agent.core.advice import load_why
from tutor_agent.core.changes import Entry, PlanChange, diff, flatten
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.facts import Goal
from tutor_agent.core.plan import Dtype, LaunchChoice, Optimizer, Sharding, Task
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice, Why
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Plan

_TOLD = ("skill", "optim.learning_rate", "optim.epochs", "data.max_length", "optim.micro_batch")


class MakePlan(Contract):
    """Arguments of `make_plan`."""

    model: str
    """A model id, a catalogue name, or a local folder."""
    data: str
    """The data file."""
    task: Task | None = None
    """What the model is to learn to do, when the person said so; else the columns decide."""
    domain: str | None = None
    """The field of knowledge, in the person's words."""
    wish: Literal["balanced", "quality", "speed", "cost"] = "balanced"
    """What matters most to the person."""
    skill: str | None = None
    """A training skill the person asked for: lora, full-fine-tuning, layer-freezing."""
    max_hours: float | None = None
    """The longest the run may take."""
    machine: str | None = None
    """A machine in words such as `4xA100-80G`; leave out for this computer."""
    name: str | None = None
    """Name of the plan."""
    change: tuple[Entry, ...] = ()
    """Plan fields the person has already decided, such as optim.learning_rate."""


class ChangePlan(Contract):
    """Arguments of `change_plan`."""

    change: tuple[Entry, ...]
    """What is changed: dotted plan paths such as optim.learning_rate, params.r, skill, data.max_length."""
    plan: str | None = None
    """Name of the plan; the latest when left out."""


class ExplainChoice(Contract):
    """Arguments of `explain_choice`."""

    field: str
    """Dotted path or last name of a plan field: optim.learning_rate, r, epochs, skill …"""
    plan: str | None = None
    """Name of the plan; the latest when left out."""
    run: str | None = None
    """Name of a run, to ask about its plan instead."""


class Estimate(Contract):
    """Arguments of `estimate`."""

    model: str
    """A model id, a catalogue name, or a local folder."""
    skill: str = "lora"
    """Training skill: lora, full-fine-tuning, layer-freezing."""
    precision: Dtype = "bf16"
    """Compute precision."""
    micro_batch: int = 1
    """Samples per forward pass."""
    max_length: int = 2048
    """Tokens per sample."""
    optimizer: Optimizer = "adamw"
    """Optimizer."""
    processes: int = 1
    """GPUs."""
    sharding: Sharding = "none"
    """How model states are spread over GPUs."""
    checkpointing: bool = True
    """Recompute activations to save memory."""
    machine: str | None = None
    """A machine in words such as `4xA100-80G`; leave out for this computer."""


class Reason(Contract):
    """One plan field, its value, and why."""

    field: str
    """Dotted path."""
    value: str
    """The value, as text."""
    reason: Text
    """Why."""
    source: str = ""
    """Where the number comes from."""
    card: str | None = None
    """Card that says more."""
    alternative: Text | None = None
    """What else would be sensible."""
    assumed: bool = False
    """True when nobody said it."""


def say_plan(advice: Advice) -> Text:
    """Describe a plan and its price in a sentence."""
    plan, price = advice.plan, advice.forecast
    hours = duration(price.hours.expected)
    rate, peak = number(plan.optim.learning_rate), price.peak_gib
    fits = _FITS[price.fits]
    length = _length(plan)
    return Text(
        en=f"Plan {plan.name}: {plan.skill} on {plan.model.source}, learning rate {rate}, "
        f"{length.en}, batch {plan.effective_batch}; about {hours.en}, "
        f"peak {peak.expected:.1f} GiB (up to {peak.high:.1f}): {fits.en}.",
        zh=f"计划 {plan.name}：用 {plan.skill} 微调 {plan.model.source}，学习率 {rate}，"
        f"{length.zh}，批大小 {plan.effective_batch}；预计 {hours.zh}，"
        f"峰值内存 {peak.expected:.1f} GiB（最多 {peak.high:.1f}）：{fits.zh}。",
    )


def _length(plan: Plan) -> Text:
    if plan.optim.max_steps is not None:
        return Text(en=f"{plan.optim.max_steps} steps", zh=f"{plan.optim.max_steps} 步")
    epochs = number(plan.optim.epochs)
    return Text(en=f"{epochs} epochs", zh=f"{epochs} 轮")


_FITS = {
    "yes": Text(en="it fits", zh="放得下"),
    "tight": Text(en="it is tight", zh="比较紧张"),
    "no": Text(en="it does not fit", zh="放不下"),
    "unknown": Text(en="whether it fits is unknown", zh="能否放下未知"),
}


def say_forecast(price: Forecast) -> Text:
    """Describe a forecast in a sentence."""
    peak, fits, hours = price.peak_gib, _FITS[price.fits], duration(price.hours.expected)
    trained = parameters(price.trainable)
    room = f" of {price.capacity_gib:.0f} GiB" if price.capacity_gib else ""
    room_zh = f"（设备共 {price.capacity_gib:.0f} GiB）" if price.capacity_gib else ""
    return Text(
        en=f"Peak {peak.expected:.1f} GiB per device ({peak.low:.1f} to {peak.high:.1f}){room}: {fits.en}; "
        f"{trained} parameters trained, {price.tokens_per_second:.0f} tokens/s"
        + (f", about {hours.en}" if price.steps else "")
        + ".",
        zh=f"每设备峰值 {peak.expected:.1f} GiB（{peak.low:.1f} 到 {peak.high:.1f}）{room_zh}：{fits.zh}；"
        f"训练 {trained} 参数，速度约 {price.tokens_per_second:.0f} token/s"
        + (f"，约需 {hours.zh}" if price.steps else "")
        + "。",
    )


def say_change(change: PlanChange, before: Plan) -> Text:
    """Describe what changes, old value to new value."""
    old = flatten(before)
    parts = [f"{e.path}: {number(old.get(e.path))} → {number(e.value)}" for e in change.entries]
    return Text(en="; ".join(parts) + ".", zh="；".join(parts) + "。")


def _make_plan(desk: Desk, arguments: MakePlan) -> ToolResult:
    goal = Goal(
        task=arguments.task,
        domain=arguments.domain,
        language=desk.context.language,
        wish=arguments.wish,
        skill=arguments.skill,
        max_hours=arguments.max_hours,
    )
    request = planning.PlanRequest(
        goal=goal,
        model=arguments.model,
        data=arguments.data,
        machine=arguments.machine,
        name=arguments.name,
        change=PlanChange(entries=arguments.change),
    )
    advice = planning.make_plan(desk.context, request)
    return keep_plan(desk, PlanSheet(advice=advice, machine=arguments.machine))


def _change_plan(desk: Desk, arguments: ChangePlan) -> ToolResult:
    sheet = load_sheet(desk.context.workspace, arguments.plan)
    change = PlanChange(entries=arguments.change)
    advice = planning.change_plan(desk.context, sheet.plan, sheet.why, change, sheet.machine)
    if not advice.candidates and advice.plan.skill == sheet.plan.skill:
        advice = advice.model_copy(update={"candidates": sheet.advice.candidates})
    changed = diff(sheet.plan, advice.plan)
    result = keep_plan(desk, PlanSheet(advice=advice, machine=sheet.machine))
    said, price = say_change(changed, sheet.plan), say_forecast(advice.forecast)
    data = {**_as_dict(result), "changed": [e.model_dump(mode="json") for e in changed.entries]}
    summary = Text(en=f"{said.en} {price.en}", zh=f"{said.zh}{price.zh}")
    return ToolResult(data, advice, summary)


def keep_plan(desk: Desk, sheet: PlanSheet) -> ToolResult:
    """Lay a plan on the table and return what is told about it."""
    save_sheet(desk.context.workspace, sheet)
    language, advice = desk.context.language, sheet.advice
    reasons = {path: advice.why[path].reason.pick(language) for path in _TOLD if path in advice.why}
    weighed = [
        {
            "skill": c.skill,
            "title": c.title.pick(language),
            "recommended": c.recommended,
            "verdict": c.verdict.pick(language),
            "fits": c.forecast.fits,
            "peak_gib": round(c.forecast.peak_gib.expected, 2),
            "hours": round(c.forecast.hours.expected, 3),
        }
        for c in advice.candidates
    ]
    data: dict[str, Any] = {
        "plan_name": sheet.plan.name,
        "machine": sheet.machine,
        "plan": plain(advice.plan, language),
        "forecast": plain(advice.forecast, language, ("parts",)),
        "reasons": reasons,
        "weighed": weighed,
        "warnings": [warning.pick(language) for warning in advice.warnings],
        "assumed": sorted(path for path, why in advice.why.items() if why.assumed),
    }
    return ToolResult(data, advice, say_plan(advice))


def _as_dict(result: ToolResult) -> dict[str, Any]:
    return cast("dict[str, Any]", result.data)


def _explain_choice(desk: Desk, arguments: ExplainChoice) -> ToolResult:
    plan, why = _plan_in_question(desk, arguments)
    path, reason = planning.why_field(plan, why, arguments.field)
    found = Reason(
        field=path,
        value=number(flatten(plan).get(path)),
        reason=reason.reason,
        source=reason.source,
        card=reason.card,
        alternative=reason.alternative,
        assumed=reason.assumed,
    )
    summary = Text(
        en=f"{path} = {found.value}: {reason.reason.en}",
        zh=f"{path} = {found.value}：{reason.reason.zh}",
    )
    return ToolResult(plain(found, desk.context.language), found, summary)


def _plan_in_question(desk: Desk, arguments: ExplainChoice) -> tuple[Plan, dict[str, Why]]:
    if arguments.run:
        view = show_run(desk.context, arguments.run)
        return view.plan, load_why(Path(view.path) / "why.yaml")
    try:
        sheet = load_sheet(desk.context.workspace, arguments.plan)
    except NotFoundError:
        if arguments.plan:
            raise
        view = show_run(desk.context)
        return view.plan, load_why(Path(view.path) / "why.yaml")
    return sheet.plan, sheet.why


def _estimate(desk: Desk, arguments: Estimate) -> ToolResult:
    given = arguments.model_dump(
        include={"model", "skill", "precision", "micro_batch", "max_length", "optimizer", "machine"}
    )
    launch = LaunchChoice(
        processes=arguments.processes,
        sharding=arguments.sharding,
        checkpointing=arguments.checkpointing,
    )
    request = estimating.EstimateRequest.parse({**given, "launch": launch}, "estimate")
    price = estimating.estimate(desk.context, request)
    data = {"request": given, "forecast": plain(price, desk.context.language)}
    return ToolResult(data, price, say_forecast(price))


PLANNING = (
    Tool(
        name="make_plan",
        title=Text(en="Write the plan", zh="制定计划"),
        description="Weigh all training skills on this model, data and machine and write the recommended plan "
        "with a reason for every value and its price in memory and time. Starts nothing.",
        parameters=MakePlan,
        run=_make_plan,
        paths=("data", "model"),
    ),
    Tool(
        name="change_plan",
        title=Text(en="Change the plan", zh="修改计划"),
        description="Change fields of a plan as the person wishes and price it anew. Starts nothing.",
        parameters=ChangePlan,
        run=_change_plan,
    ),
    Tool(
        name="explain_choice",
        title=Text(en="Look up the reason", zh="查看理由"),
        description="Why a field of the plan has its value, where the number comes from, and the alternative.",
        parameters=ExplainChoice,
        run=_explain_choice,
    ),
    Tool(
        name="estimate",
        title=Text(en="Work out memory and speed", zh="估算显存与速度"),
        description="Peak memory per device and speed of one configuration, without data.",
        parameters=Estimate,
        run=_estimate,
        paths=("model",),
    ),
)
