"""One strategy, worked out: the plan of one skill with its reasons and its price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.data_fields import data_fields, usual_units
from tutor_agent.advise.fit import FIT_ORDER, SMALL_STATES, Fitted, fit
from tutor_agent.advise.hyperparameters import batch_fields, optim_fields, small_states
from tutor_agent.advise.judging_fields import evaluation_fields
from tutor_agent.advise.kernels import QUANTISER, can_quantise
from tutor_agent.advise.model_fields import identity_fields
from tutor_agent.advise.review import refuse_impossible
from tutor_agent.advise.run_fields import guard_fields, launch_fields, tracker_fields
from tutor_agent.advise.scale import SCALE_WHY, alpha_after
from tutor_agent.advise.situation import Field, Fields, Situation, because, nested
from tutor_agent.core.advice import Why
from tutor_agent.core.changes import Entry, PlanChange, apply, flatten
from tutor_agent.core.errors import UserError
from tutor_agent.core.plan import Plan
from tutor_agent.core.text import Text
from tutor_agent.estimate.forecast import forecast

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.facts import Facts, Machine
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.skillkit.contract import Skill

_FEWEST_ROWS = 100
_EMPTY = Why(reason=Text.same(""))
_PROVISIONAL: Fields = {
    path: Field(1, _EMPTY) for path in ("optim.micro_batch", "optim.accumulate")
}


@dataclass(frozen=True)
class Draft:
    """A plan that one skill would run."""

    situation: Situation
    plan: Plan
    fields: Fields
    forecast: Forecast
    findings: tuple[Finding, ...] = ()
    refused: Text | None = None
    """Why the skill cannot do it at all."""
    shortened: Text | None = None
    """What was cut to keep within the time that was allowed."""

    @property
    def why(self) -> dict[str, Why]:
        """The reasons, for exactly the fields that the plan has."""
        return {path: self.fields[path].why for path in flatten(self.plan) if path in self.fields}


def make_draft(facts: Facts, skill: Skill, name: str, change: PlanChange) -> Draft:
    """Work out the plan of `skill`, with the fields of `change` as the person wants them.

    Raises:
        InvalidPlanError: The change names a field that does not exist, or a value that is not allowed.
        NotPossibleError: The skill's own parameters do not go together with this model.
    """
    situation, param_fields = _situation(facts, skill)
    draft = _draft(situation, param_fields, name, change)
    smaller = _quantised(draft, param_fields, name, change)
    if smaller is not None:
        draft, param_fields = smaller
    limit = facts.goal.max_hours
    if limit is not None and draft.forecast.hours.expected > limit:
        draft = _shorten(draft, param_fields, name, change, limit)
    return draft


def _quantised(
    draft: Draft, params: Fields, name: str, change: PlanChange
) -> tuple[Draft, Fields] | None:
    """Return the draft over 4-bit weights, when the plain one does not fit for sure and this one fits better."""
    plain, facts = draft.situation, draft.situation.facts
    settled = draft.refused is not None or draft.forecast.fits in {"yes", "unknown"}
    known = "quantization" in plain.skill.params.model_fields
    if settled or not known or "params.quantization" in change.paths:
        return None
    if not can_quantise(facts.machine):
        return None
    chosen = plain.skill.params.parse(
        {**plain.params.model_dump(mode="json"), "quantization": "nf4"}, "quantised parameters"
    )
    situation = replace(plain, params=chosen, footprint=plain.skill.footprint(facts.model, chosen))
    lean = _draft(situation, {**params, "params.quantization": Field("nf4", _EMPTY)}, name, change)
    if FIT_ORDER[lean.forecast.fits] >= FIT_ORDER[draft.forecast.fits]:
        return None
    why = Field("nf4", _why_quantised(draft.forecast, lean.forecast, facts.machine))
    fields = {**params, "params.quantization": why}
    return replace(lean, fields={**lean.fields, "params.quantization": why}), fields


def _why_quantised(plain: Forecast, lean: Forecast, machine: Machine) -> Why:
    missing = QUANTISER not in machine.packages
    needs = (f" It needs the package {QUANTISER} there.", f"那台机器上需要安装 {QUANTISER}。")
    capacity = plain.capacity_gib or 0
    return because(
        f"Over 16-bit weights LoRA needs about {plain.peak_gib.expected:.1f} GiB of {capacity:.1f}; held in 4 bits (QLoRA) "
        f"it is {lean.peak_gib.expected:.1f}, a little slower and nearly as good."
        + (needs[0] if missing else ""),
        f"在 16 位权重上 LoRA 约需 {plain.peak_gib.expected:.1f} GiB，而这里只有 {capacity:.1f} GiB；权重以 4 比特存放（QLoRA）只需 "
        f"{lean.peak_gib.expected:.1f} GiB，稍慢，效果接近。" + (needs[1] if missing else ""),
        source=f"{src.FORECAST}; {src.QLORA}",
        card="qlora",
        other=(
            "'none' on a larger GPU, or with a smaller model.",
            "换更大的显卡或更小的模型时用 'none'。",
        ),
    )


def _situation(facts: Facts, skill: Skill) -> tuple[Situation, Fields]:
    """Return the skill's view of the facts, and its own parameters with their reasons."""
    params, reasons = skill.suggest(facts) if skill.suggest else (skill.params(), {})
    values: dict[str, JsonValue] = params.model_dump(mode="json")
    own = because(
        f"The default of the skill {skill.name}.",
        f"技能 {skill.name} 的默认值。",
        source=f"skills/{skill.name}/SKILL.md",
    )
    fields = {
        f"params.{key}": Field(value, reasons.get(f"params.{key}", own))
        for key, value in values.items()
    }
    return Situation(facts, skill, params, skill.footprint(facts.model, params)), fields


def _draft(situation: Situation, params: Fields, name: str, change: PlanChange) -> Draft:
    facts, skill = situation.facts, situation.skill
    fields = {
        **identity_fields(situation, name, _why_skill(situation)),
        **params,
        **data_fields(situation),
        **optim_fields(situation, usual_units(situation)),
        **guard_fields(),
        **tracker_fields(),
    }
    processes = Field(situation.devices, _EMPTY)
    provisional = {**fields, **_PROVISIONAL, "launch.processes": processes}
    usual = _parse(provisional)
    plan = apply(usual, change)
    scaled = alpha_after(usual, plan, change.paths)
    if scaled.entries:
        plan = apply(plan, scaled)
        fields |= {"params.alpha": Field(plan.params["alpha"], SCALE_WHY)}
    refuse_impossible(plan, facts.machine)
    chosen = skill.params.parse(plan.params, f"parameters of {skill.name}")
    situation = replace(situation, params=chosen, footprint=skill.footprint(facts.model, chosen))
    refused, findings = None, ()
    try:
        findings = tuple(skill.check(facts, chosen))
    except UserError as error:
        refused = error.text
    fitted = fit(plan, situation, frozenset(change.paths))
    fields = {**fields, **_fitted_fields(situation, fitted)}
    plan = apply(_parse(fields), change)
    return Draft(
        situation=situation,
        plan=plan,
        fields={**fields, **asked_fields(plan, fields, change)},
        forecast=forecast(plan, facts.model, facts.machine, situation.footprint, facts.data),
        findings=findings,
        refused=refused,
    )


def asked_fields(plan: Plan, fields: Fields, change: PlanChange) -> Fields:
    """Return the fields that the person set, each with what the usual advice would be."""
    values = flatten(plan)
    return {
        path: Field(values[path], asked_why(values[path], fields.get(path)))
        for path in change.paths
        if path in values
    }


def asked_why(value: JsonValue, usual: Field | None) -> Why:
    """Return the reason of a field that the person set."""
    reason = Text(en="You asked for it.", zh="这是你指定的。")
    if usual is None:
        return Why(reason=reason, source=src.ASKED)
    if usual.why.source == src.ASKED:
        return usual.why.model_copy(update={"reason": reason, "assumed": False})
    if usual.value == value:
        agreed = Text(
            en=f"You asked for it, and it is the usual advice. {usual.why.reason.en}",
            zh=f"这是你指定的，也正是通常的建议。{usual.why.reason.zh}",
        )
        return usual.why.model_copy(
            update={"reason": agreed, "source": src.ASKED, "assumed": False}
        )
    return Why(
        reason=reason,
        card=usual.why.card,
        source=src.ASKED,
        alternative=Text(
            en=f"The usual advice would be {_shown(usual.value)}. {usual.why.reason.en}",
            zh=f"通常的建议是 {_shown(usual.value)}。{usual.why.reason.zh}",
        ),
    )


def _shown(value: JsonValue) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    return "null" if value is None else str(value)


def _fitted_fields(situation: Situation, fitted: Fitted) -> Fields:
    plan, price = fitted
    peak = f"{price.peak_gib.expected:.1f} GiB"
    small = plan.optim.optimizer in SMALL_STATES
    return {
        **({"optim.optimizer": small_states(plan.optim.optimizer, peak)} if small else {}),
        **batch_fields(
            situation,
            plan.optim.micro_batch,
            plan.optim.accumulate,
            plan.world_size,
            price.steps,
        ),
        **launch_fields(situation, plan.launch, peak),
        **evaluation_fields(situation, price.steps),
    }


def _shorten(draft: Draft, params: Fields, name: str, change: PlanChange, limit: float) -> Draft:
    """Cut epochs to one, then rows, until the expected time is within `limit` hours."""
    asked = set(change.paths)
    cuts: list[Entry] = []
    hours, plan = draft.forecast.hours.expected, draft.plan
    if "optim.epochs" not in asked and plan.optim.epochs > 1:
        epochs = max(1.0, float(int(plan.optim.epochs * limit / hours)))
        cuts.append(Entry(path="optim.epochs", value=epochs))
        hours *= epochs / plan.optim.epochs
    if "data.limit" not in asked and hours > limit:
        # Loading and evaluation do not shrink with the rows, so some of the time is kept for them.
        rows = int(draft.situation.facts.data.rows * 0.85 * limit / hours)
        rows = min(draft.situation.facts.data.rows, max(_FEWEST_ROWS, rows))
        cuts.append(Entry(path="data.limit", value=rows))
    if not cuts:
        return draft
    shorter = _draft(draft.situation, params, name, PlanChange(entries=(*change.entries, *cuts)))
    fields = dict(shorter.fields)
    for cut in cuts:
        fields[cut.path] = Field(cut.value, _why_cut(draft.fields[cut.path], limit))
    values = flatten(shorter.plan)
    listed = ", ".join(f"{cut.path} {_shown(values[cut.path])}" for cut in cuts)
    note = Text(
        en=f"To stay within {limit:g} hours: {listed}. The full run would take about "
        f"{draft.forecast.hours.expected:.1f} hours.",
        zh=f"为了不超过 {limit:g} 小时：{listed}。完整训练约需 {draft.forecast.hours.expected:.1f} 小时。",
    )
    return replace(shorter, fields=fields, shortened=note)


def _why_cut(usual: Field, limit: float) -> Why:
    return because(
        f"Cut to stay within the {limit:g} hours you allow.",
        f"为了不超过你允许的 {limit:g} 小时而缩减。",
        source=src.FORECAST,
        card=usual.why.card,
        other=(
            f"{_shown(usual.value)} with more time. {usual.why.reason.en}",
            f"时间充裕时为 {_shown(usual.value)}。{usual.why.reason.zh}",
        ),
    )


def _why_skill(situation: Situation) -> Field:
    """Return the skill as a field; the strategy writes the reason once it has compared."""
    return Field(situation.skill.name, _EMPTY)


def _parse(fields: Fields) -> Plan:
    return Plan.parse(nested(fields), "advised plan")
