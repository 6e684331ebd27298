"""From facts to a plan with reasons, and from a change to a new plan."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.advise import sources as src
from tutor_agent.advise.draft import asked_why
from tutor_agent.advise.fit import fit
from tutor_agent.advise.review import (
    dangers,
    refuse_impossible,
    refuse_untrainable,
    with_usable_devices,
)
from tutor_agent.advise.scale import SCALE_WHY, alpha_after
from tutor_agent.advise.situation import Field, Situation
from tutor_agent.advise.strategy import choose_strategy
from tutor_agent.core.advice import Advice, Why
from tutor_agent.core.changes import Entry, PlanChange, apply, flatten
from tutor_agent.core.text import Text
from tutor_agent.estimate.forecast import forecast

if TYPE_CHECKING:
    from tutor_agent.core.facts import Facts
    from tutor_agent.core.findings import Finding
    from tutor_agent.core.plan import Plan
    from tutor_agent.skillkit.registry import Registry

NO_CHANGE = PlanChange()
_LONGEST_NAME = 40
# What may move along when the person changes something else and it no longer fits.
_LEVERS = ("launch.sharding", "launch.checkpointing", "optim.micro_batch", "optim.accumulate")


def make_advice(
    facts: Facts,
    skills: Registry,
    *,
    change: PlanChange = NO_CHANGE,
    name: str | None = None,
) -> Advice:
    """Recommend a strategy and write its plan, with a reason and a source for every value.

    Raises:
        NotPossibleError: Nothing fits, or a field of `change` is impossible here.
        InvalidPlanError: A field of `change` does not exist, or its value is not allowed.
        NotFoundError: The goal names a skill that does not exist.
    """
    refuse_untrainable(facts)
    facts, notes = with_usable_devices(facts)
    strategy = choose_strategy(facts, skills, slug(name or "") or plan_name(facts), change)
    chosen = strategy.chosen
    refuse_impossible(chosen.plan, facts.machine)
    warnings = [
        *facts.machine.warnings,
        *notes,
        *(text for text in (chosen.shortened,) if text is not None),
        *dangers(chosen.plan, chosen.situation, chosen.forecast),
        *map(_as_warning, chosen.findings),
        *skills.broken,
    ]
    return Advice(
        plan=chosen.plan,
        why={**chosen.why, "skill": strategy.why},
        forecast=chosen.forecast,
        candidates=strategy.candidates,
        warnings=tuple(warnings),
    )


def revise(
    plan: Plan, why: dict[str, Why], change: PlanChange, facts: Facts, skills: Registry
) -> Advice:
    """Apply the person's change to a plan and price it anew.

    What was asked for earlier stays. When the changed plan no longer fits, settings that change no
    result (micro-batch, accumulation, checkpointing, sharding) move along, and a warning says so.

    Raises:
        InvalidPlanError: A field does not exist, or a value is not allowed.
        NotPossibleError: This machine cannot do it.
        NotFoundError: The change names a skill that does not exist.
    """
    refuse_untrainable(facts)
    facts, notes = with_usable_devices(facts)
    change = _with_owner(plan, change, skills)
    if "skill" in change.paths or "task" in change.paths:
        return _advise_anew(plan, why, change, facts, skills)
    changed = apply(plan, change)
    rescaled = alpha_after(plan, changed, {*change.paths, *_asked_paths(why)})
    implied = _implied(changed, change)
    changed = apply(apply(changed, rescaled), implied)
    skill = skills.get(changed.skill)
    params = skill.params.parse(changed.params, f"parameters of {skill.name}")
    situation = Situation(facts, skill, params, skill.footprint(facts.model, params))
    findings = skill.check(facts, params)
    refuse_impossible(changed, facts.machine)
    price = forecast(changed, facts.model, facts.machine, situation.footprint, facts.data)
    moved: tuple[Text, ...] = ()
    reasons = _asked_reasons(plan, changed, why, change)
    for follows, following in ((rescaled, _SCALED), (implied, _FOLLOWS)):
        if follows.entries:
            said, along = _moved(apply(plan, change), changed, following)
            moved, reasons = (*moved, *said), reasons | along
    if price.fits in {"no", "tight"}:
        fixed = frozenset(
            {*change.paths, *_asked_paths(why), "launch.processes", "optim.optimizer"}
        )
        fitted = fit(changed, situation, fixed)
        if fitted.forecast.fits == "yes":
            fits_again, along = _moved(changed, fitted.plan, _FITS)
            moved, reasons = (*moved, *fits_again), reasons | along
            changed, price = fitted
    return Advice(
        plan=changed,
        why={path: reasons[path] for path in flatten(changed) if path in reasons},
        forecast=price,
        warnings=(*notes, *moved, *dangers(changed, situation, price), *map(_as_warning, findings)),
    )


def plan_name(facts: Facts) -> str:
    """Return a short name from the data file, else from what is to be learnt."""
    named = slug(PurePath(facts.data.path).stem) or slug(facts.goal.domain or "")
    return named or f"{facts.goal.task or facts.data.task}-tuning"


def slug(words: str) -> str:
    """Return `words` as a plan name: a-z, 0-9 and hyphens; empty when nothing of that is left."""
    plain = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
    return plain[:_LONGEST_NAME].strip("-")


def _advise_anew(
    plan: Plan, why: dict[str, Why], change: PlanChange, facts: Facts, skills: Registry
) -> Advice:
    """Make the plan again for another skill or task, keeping the fields that were asked for."""
    values = flatten(plan)
    named = {entry.path for entry in change.entries}
    same_skill = "skill" not in named
    kept = tuple(
        Entry(path=path, value=values[path])
        for path in _asked_paths(why)
        if path in values
        and path not in named | {"skill", "task", "data.train", "model.source"}
        and (same_skill or not path.startswith("params."))
    )
    goal = {entry.path: entry.value for entry in change.entries if entry.path in {"skill", "task"}}
    checked = apply(plan, PlanChange(entries=tuple(e for e in change.entries if e.path in goal)))
    goal_now = facts.goal.model_copy(
        update={"skill": skills.get(checked.skill).name, "task": checked.task}
    )
    rest = tuple(entry for entry in change.entries if entry.path not in goal)
    advice = make_advice(
        facts.model_copy(update={"goal": goal_now}),
        skills,
        change=PlanChange(entries=(*kept, *rest)),
        name=plan.name,
    )
    if same_skill and "skill" in why:
        return advice.model_copy(update={"why": {**advice.why, "skill": why["skill"]}})
    return advice


def _asked_paths(why: dict[str, Why]) -> tuple[str, ...]:
    return tuple(path for path, reason in why.items() if reason.source == src.ASKED)


def _asked_reasons(
    before: Plan, after: Plan, why: dict[str, Why], change: PlanChange
) -> dict[str, Why]:
    old, new = flatten(before), flatten(after)
    reasons = dict(why)
    for path in change.paths:
        if path not in new:
            continue
        usual = Field(old[path], why[path]) if path in old and path in why else None
        reasons[path] = asked_why(new[path], usual)
    return reasons


def _with_owner(plan: Plan, change: PlanChange, skills: Registry) -> PlanChange:
    """Name the skill too when a parameter is asked for that only another skill has: QLoRA needs lora."""
    keys = {path.split(".")[1] for path in change.paths if path.startswith("params.")}
    if (
        not keys
        or "skill" in change.paths
        or keys & set(skills.get(plan.skill).params.model_fields)
    ):
        return change
    owner = next((s for s in skills.stage("train") if keys <= set(s.params.model_fields)), None)
    if owner is None:
        return change
    return PlanChange(entries=(Entry(path="skill", value=owner.name), *change.entries))


def _implied(changed: Plan, change: PlanChange) -> PlanChange:
    """Return what must follow a change: a classifier reads each text alone, so packing goes off."""
    packed = changed.model.head == "classifier" and changed.data.packing
    if not packed or "data.packing" in change.paths or "model.head" not in change.paths:
        return NO_CHANGE
    return PlanChange.set(data__packing=False, data__batching="by_length")


class _Following(NamedTuple):
    """What moves along with a change, and why."""

    paths: tuple[str, ...]
    note: Text
    reason: Why


_FITS = _Following(
    _LEVERS,
    Text(
        en="So that it still fits, these moved along: {0}. The samples per step stay about the same.",
        zh="为了仍然放得下，以下设置随之调整：{0}。每步样本数大致不变。",
    ),
    Why(
        reason=Text(
            en="Moved along with your change, so that the plan still fits in memory.",
            zh="随你的修改一起调整，使计划仍放得进内存。",
        ),
        card="out-of-memory",
        source=src.FORECAST,
    ),
)
_SCALED = _Following(
    ("params.alpha",),
    Text(
        en="alpha moved along with the rank, so that alpha / r stays as it was: {0}.",
        zh="alpha 随秩一起调整，使 alpha / r 保持不变：{0}。",
    ),
    SCALE_WHY,
)
_FOLLOWS = _Following(
    ("data.packing", "data.batching"),
    Text(
        en="A classifier reads every text by itself, so these moved along: {0}.",
        zh="分类头逐条读取文本，因此以下设置随之调整：{0}。",
    ),
    Why(
        reason=Text(
            en="Moved along with the classifier head: its score is read at the last token of a text.",
            zh="随分类头一起调整：分数取自文本的最后一个词元。",
        ),
        card="classifier-head",
        source=src.FACTS,
    ),
)


def _moved(
    before: Plan, after: Plan, following: _Following
) -> tuple[tuple[Text, ...], dict[str, Why]]:
    """Say which settings moved along, and why."""
    old, new = flatten(before), flatten(after)
    paths = [path for path in following.paths if old[path] != new[path]]
    listed = ", ".join(f"{path} {old[path]} → {new[path]}" for path in paths)
    note = Text(en=following.note.en.format(listed), zh=following.note.zh.format(listed))
    return (note,), dict.fromkeys(paths, following.reason)


def _as_warning(finding: Finding) -> Text:
    evidence = finding.evidence[0]
    return Text(en=f"{finding.title.en} {evidence.en}", zh=f"{finding.title.zh}{evidence.zh}")
