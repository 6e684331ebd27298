"""Which training method: all are worked out, priced and compared; exactly one is recommended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.draft import Draft, make_draft
from tutor_agent.advise.hyperparameters import MUCH_TEXT_TOKENS
from tutor_agent.advise.situation import because, billions_text
from tutor_agent.advise.ways_out import nothing_fits
from tutor_agent.core.advice import Candidate, Why
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.errors import InvalidPlanError, NotFoundError, NotPossibleError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.facts import Facts
    from tutor_agent.skillkit.contract import Skill
    from tutor_agent.skillkit.registry import Registry

FULL, LORA, FREEZING = "full-fine-tuning", "lora", "layer-freezing"
_MANY_ROWS = 5_000


@dataclass(frozen=True)
class Strategy:
    """The recommended draft, why it, and what it was weighed against."""

    chosen: Draft
    why: Why
    candidates: tuple[Candidate, ...]
    warnings: tuple[Text, ...] = ()


def choose_strategy(facts: Facts, skills: Registry, name: str, change: PlanChange) -> Strategy:
    """Work out every training skill and recommend one that fits.

    Raises:
        NotFoundError: The person named a skill that does not exist.
        NotPossibleError: The named skill, or none at all, fits this machine.
    """
    asked = _asked_skill(facts, skills, change)
    drafts = [_draft_of(facts, skill, name, change, asked) for skill in skills.stage("train")]
    if not drafts:
        raise NotFoundError(
            "No training skill was found. Install tutor-agent again: pip install tutor-agent.",
            "没有找到训练技能。请重新安装：pip install tutor-agent。",
        )
    if asked is not None:
        chosen = next(draft for draft in drafts if draft.plan.skill == asked)
        _must_run(chosen, drafts)
        reason = Text(en=f"You asked for {asked}.", zh=f"这是你指定的：{asked}。")
    else:
        usable = [draft for draft in drafts if _is_usable(draft)]
        if not usable:
            raise nothing_fits(drafts, named=None)
        chosen, reason = _prefer(facts, usable)
    others = sorted(
        (draft for draft in drafts if draft is not chosen),
        key=lambda draft: (not _is_usable(draft), draft.forecast.hours.expected),
    )
    candidates = (
        _candidate(chosen, reason, recommended=True),
        *(_candidate(draft, _verdict(draft, chosen), recommended=False) for draft in others),
    )
    why = _why(chosen, reason, others, said=asked is not None)
    return Strategy(chosen, why, candidates)


def _asked_skill(facts: Facts, skills: Registry, change: PlanChange) -> str | None:
    """Return the skill that the goal or the change names, or that a parameter belongs to alone."""
    named = next((e.value for e in change.entries if e.path == "skill"), facts.goal.skill)
    if named is not None:
        return skills.get(str(named)).name
    keys = {path.split(".")[1] for path in change.paths if path.startswith("params.")}
    if not keys:
        return None
    owners = [
        skill.name for skill in skills.stage("train") if keys <= set(skill.params.model_fields)
    ]
    if not owners:
        known = sorted({f for s in skills.stage("train") for f in s.params.model_fields})
        raise InvalidPlanError(
            f"No training skill has the parameters {', '.join(sorted(keys))}. Known: {', '.join(known)}.",
            f"没有训练技能带有参数 {'、'.join(sorted(keys))}。可用：{'、'.join(known)}。",
        )
    return owners[0]


def _draft_of(
    facts: Facts, skill: Skill, name: str, change: PlanChange, asked: str | None
) -> Draft:
    """Return the draft of a skill; parameters that were asked for belong to the asked skill alone."""
    if skill.name != asked:
        kept = (e for e in change.entries if not e.path.startswith("params.") and e.path != "skill")
        change = PlanChange(entries=tuple(kept))
    return make_draft(facts, skill, name, change)


def _is_usable(draft: Draft) -> bool:
    return draft.refused is None and draft.forecast.fits != "no"


def _must_run(chosen: Draft, drafts: list[Draft]) -> None:
    if chosen.refused is not None:
        raise NotPossibleError(chosen.refused.en, chosen.refused.zh)
    if chosen.forecast.fits == "no":
        raise nothing_fits(drafts, named=chosen)


def _prefer(facts: Facts, usable: list[Draft]) -> tuple[Draft, Text]:
    """Choose among what can run: what fits for sure, within the time, by task and wish."""
    sure = [draft for draft in usable if draft.forecast.fits != "tight"] or usable
    limit = facts.goal.max_hours
    if limit is not None:
        in_time = [draft for draft in sure if draft.forecast.hours.expected <= limit * 1.02]
        whole = [draft for draft in in_time if draft.shortened is None]
        sure = whole or in_time or [min(sure, key=lambda draft: draft.forecast.hours.expected)]
    by_name = {draft.plan.skill: draft for draft in sure}
    for skill, applies, reason in _rules(facts):
        if applies and skill in by_name:
            return by_name[skill], reason
    first = sure[0]
    return first, Text(
        en=f"{first.situation.skill.title.en} is the only method that fits here.",
        zh=f"只有{first.situation.skill.title.zh}适合这里。",
    )


def _rules(facts: Facts) -> tuple[tuple[str, bool, Text], ...]:
    """Return the preferences in order: skill, whether it applies, and the reason."""
    data, goal = facts.data, facts.goal
    task = goal.task or data.task
    size = billions_text(facts.model.parameters.total)
    cpu = not facts.machine.accelerators
    return (
        (
            FULL,
            task == "pretraining" and data.lengths.total >= MUCH_TEXT_TOKENS,
            Text(
                en=f"Much new text ({data.lengths.total / 1e6:.0f} million tokens) needs all weights, and they fit.",
                zh=f"大量新文本（{data.lengths.total / 1e6:.0f} 百万词元）需要动用全部权重，而且放得下。",
            ),
        ),
        (
            FULL,
            goal.wish == "quality" and data.rows >= _MANY_ROWS,
            Text(
                en=f"You want quality, {data.rows} rows can move all weights, and they fit.",
                zh=f"你看重质量，{data.rows} 行数据足以调动全部权重，而且放得下。",
            ),
        ),
        (
            FREEZING,
            cpu and goal.wish in {"speed", "cost"},
            Text(
                en="You want it quick on a CPU: the backward pass stops at the frozen layers, which saves time and memory.",
                zh="你希望在 CPU 上快一些：反向传播到冻结层为止，省时也省内存。",
            ),
        ),
        (
            LORA,
            True,
            Text(
                en=f"LoRA reaches what full fine-tuning reaches on {data.rows} rows, forgets less, and its result is a "
                f"small file beside the {size} model.",
                zh=f"在 {data.rows} 行数据上 LoRA 能达到全参数微调的效果，遗忘更少，结果只是 {size} 模型旁的一个小文件。",
            ),
        ),
        (
            FREEZING,
            True,
            Text(
                en="LoRA does not fit here; training only the top layers does.",
                zh="这里放不下 LoRA；只训练顶部几层放得下。",
            ),
        ),
        (
            FULL,
            True,
            Text(en="It is the method that fits here.", zh="这是这里放得下的方法。"),
        ),
    )


def _verdict(draft: Draft, chosen: Draft) -> Text:
    """Say why a draft is not the recommended one."""
    if draft.refused is not None:
        return draft.refused
    price, best = draft.forecast, chosen.forecast
    if price.fits == "no":
        return Text(
            en=f"Does not fit: about {price.peak_gib.expected:.1f} GiB of {price.capacity_gib or 0:.1f} GiB a device.",
            zh=f"放不下：每个设备约需 {price.peak_gib.expected:.1f} GiB，只有 {price.capacity_gib or 0:.1f} GiB。",
        )
    hours = price.hours.expected / max(best.hours.expected, 1e-9)
    memory = price.peak_gib.expected / best.peak_gib.expected
    tight = price.fits == "tight"
    return Text(
        en=f"Possible: {hours:.1f} times the time and {memory:.1f} times the memory of the recommended one"
        + (", with little room to spare" if tight else "")
        + f"; trains {billions_text(price.trainable)} weights.",
        zh=f"可行：时间为推荐方案的 {hours:.1f} 倍，内存为 {memory:.1f} 倍"
        + ("，余量很小" if tight else "")
        + f"；训练 {billions_text(price.trainable)} 个权重。",
    )


def _candidate(draft: Draft, verdict: Text, *, recommended: bool) -> Candidate:
    return Candidate(
        skill=draft.plan.skill,
        title=draft.situation.skill.title,
        forecast=draft.forecast,
        verdict=verdict,
        recommended=recommended,
    )


def _why(chosen: Draft, reason: Text, others: list[Draft], *, said: bool) -> Why:
    runner = next((draft for draft in others if _is_usable(draft)), None)
    other = None
    if runner is not None:
        verdict = _verdict(runner, chosen)
        title = runner.situation.skill.title
        other = (f"{title.en}: {verdict.en}", f"{title.zh}：{verdict.zh}")
    return because(
        reason.en,
        reason.zh,
        source=src.ASKED
        if said
        else f"{src.FORECAST}; {src.LORA_REGRET}; {src.GUIDE}: three methods",
        card="methods-compared",
        other=other,
        assumed=not said and chosen.situation.assumes("wish"),
    )
