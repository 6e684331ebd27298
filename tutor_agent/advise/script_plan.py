"""The plan that does what an old script does, with the line behind every value."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from tutor_agent.advise.carried import Carried, Kept
from tutor_agent.advise.planner import make_advice, slug
from tutor_agent.advise.script_data_fields import skill_of, task_of
from tutor_agent.advise.script_findings import Noter, ScriptFinding
from tutor_agent.core.advice import Advice, Why
from tutor_agent.core.changes import Entry, PlanChange, apply, flatten
from tutor_agent.core.errors import TutorError, UserError
from tutor_agent.core.plan import DataChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.core.facts import Facts
    from tutor_agent.core.plan import Task
    from tutor_agent.probe.script import Script
    from tutor_agent.probe.script_values import Given
    from tutor_agent.skillkit.registry import Registry

_USUAL_RATE = {"lora": 2e-4, "layer-freezing": 4e-5, "full-fine-tuning": 2e-5}
# What a machine or a model may not allow, in the order in which it is let go.
_NEGOTIABLE = (
    "model.dtype", "model.attention", "model.liger", "model.compile", "optim.optimizer", "params.quantization", "trackers",
    "data.batching", "params.targets", "params.dropout", "params.dora", "data.packing", "launch.checkpointing", "optim.deterministic",
    "model.head", "data.columns.text", "data.format",
)  # fmt: skip
_USUAL = {
    "optim.learning_rate": (
        "The usual value is 1e-5 to 5e-5 for all weights and 1e-4 to 2e-4 for LoRA.",
        "通常：全参数微调取 1e-5～5e-5，LoRA 取 1e-4～2e-4。",
    ),
    "optim.epochs": (
        "Fine-tuning usually needs 1 to 3 epochs; more over-fits.",
        "微调通常 1～3 轮就够，再多容易过拟合。",
    ),
    "optim.micro_batch": (
        "4 to 8 a device, with accumulation up to 16 to 64 samples a step.",
        "每卡 4～8，再用累积凑到每步 16～64 个样本。",
    ),
    "optim.warmup": ("About 3 % of the steps: 0.03.", "约为总步数的 3%：0.03。"),
    "evaluation.early_stopping": (
        "3: stop after three evaluations without improvement.",
        "3：连续三次评估没有改善就停止。",
    ),
    "evaluation.keep": ("best: keep the best checkpoint.", "best：保留最好的检查点。"),
}


_OWN_FILES = frozenset({"data.validation", "data.test"})
_DEFAULT = Why(
    reason=Text(
        en="The plan's default: the script does not say it, and without model and data at hand nothing was worked out.",
        zh="计划的默认值：脚本没有说明，而模型和数据不在手边，因此没有推算。",
    ),
    source="core/plan.py",
    assumed=True,
)


@dataclass(frozen=True)
class ScriptPlan:
    """A plan made from a script."""

    plan: Plan
    why: dict[str, Why]
    lines: dict[str, int]
    advice: Advice | None = None
    warnings: tuple[Text, ...] = ()
    refused: tuple[tuple[Kept, Text], ...] = ()
    """Values of the script that cannot be kept, and why."""

    @property
    def steps(self) -> int | None:
        """Optimizer steps of the run, when they could be worked out."""
        return self.advice.forecast.steps if self.advice else None

    def with_warning(self, text: Text) -> ScriptPlan:
        """Return the plan with one more warning."""
        return replace(self, warnings=(*self.warnings, text))

    def explained(self, script: Script, *, own_model: bool) -> ScriptPlan:
        """Return the plan with a reason for every field; `own_model` when the script names the model."""
        why, lines = dict(self.why), dict(self.lines)
        given = script.model_name
        if own_model and given is not None:
            why["model.source"] = _why_model(script, given, self.plan.model.source, why)
            lines["model.source"] = given.line
        why = {path: why.get(path, _DEFAULT) for path in flatten(self.plan)}
        advice = self.advice.model_copy(update={"why": why}) if self.advice else None
        return replace(self, why=why, lines=lines, advice=advice)

    def findings(self, script: Script) -> list[ScriptFinding]:
        """Return a finding for every value that could not be kept."""
        noter, found = Noter(script), list[ScriptFinding]()
        for kept, text in self.refused:
            line = kept.line or (script.trainer.line if script.trainer else 1)
            value = flatten(self.plan).get(kept.path)
            todo = Text(
                en=f"The plan has {kept.path} = {value}.", zh=f"计划中 {kept.path} = {value}。"
            )
            found.append(noter.note("unwise", "not-kept", line, text, todo))
        return found


def bare_plan(script: Script, carried: Carried, model: str, data: str, name: str) -> ScriptPlan:
    """Return the plan from the script alone: what it does not say has the plan's default."""
    skill = skill_of(script)
    plan = Plan(
        name=slug(name) or "migrated",
        skill=skill,
        task=task_of(script) or "chat",
        model=ModelChoice(source=model),
        data=DataChoice(train=data),
        optim=OptimChoice(learning_rate=_USUAL_RATE[skill]),
    )
    lines: dict[str, int] = {}
    why = {"skill": _why_skill(script)}
    fields = {**carried.fields, **_text_fields(script, carried)}
    refused: list[tuple[Kept, Text]] = []
    for path, kept in fields.items():
        if path == "data.train" or (path == "params.train_last" and _counts_from_below(kept)):
            continue
        try:
            plan = apply(plan, PlanChange(entries=(Entry(path=path, value=kept.value),)))
        except UserError as error:
            refused.append((kept, error.text))
            continue
        why[path] = _why(script, kept, None)
        lines.update({path: kept.line} if kept.line else {})
    train = carried.fields.get("data.train")
    if train is not None:
        why["data.train"] = _why(script, train, None)
        lines.update({"data.train": train.line} if train.line else {})
    return ScriptPlan(plan, why, lines, refused=tuple(refused))


def priced_plan(
    script: Script, carried: Carried, facts: Facts, skills: Registry, bare: ScriptPlan
) -> ScriptPlan:
    """Return the plan with its price; what the script does not say is advised from the facts.

    Raises:
        TutorError: Nothing can be advised from these facts.
    """
    fields = {**carried.fields, **_text_fields(script, carried)}
    fields.pop("data.train", None)
    for kept, _ in bare.refused:
        fields.pop(kept.path, None)
    refused = list(bare.refused)
    _count_layers(fields, facts)
    advice = _advise(fields, refused, facts, skills, bare.plan.name)
    for path, text in _beyond(fields, advice.forecast.steps):
        refused.append((fields.pop(path), text))
    advice = _advise(fields, refused, facts, skills, bare.plan.name)
    usual = _usual(facts, skills, bare.plan.name)
    why = {
        path: _from_line(script, fields[path], flatten(advice.plan)[path], usual.get(path))
        if path in fields
        else each
        for path, each in advice.why.items()
    }
    why["skill"] = _why_skill(script, why.get("skill"))
    if (train := carried.fields.get("data.train")) is not None:
        why["data.train"] = _why(script, train, None)
    lines = {path: kept.line for path, kept in fields.items() if kept.line}
    lines.update({"data.train": train.line} if train and train.line else {})
    advice = advice.model_copy(update={"why": why})
    return ScriptPlan(advice.plan, why, lines, advice, advice.warnings, tuple(refused))


def _counts_from_below(kept: Kept) -> bool:
    return isinstance(kept.value, int) and kept.value < 0


def _count_layers(fields: dict[str, Kept], facts: Facts) -> None:
    """Turn "the first so many are frozen" into how many of the last are trained."""
    kept = fields.get("params.train_last")
    if kept is not None and isinstance(kept.value, int) and _counts_from_below(kept):
        last = facts.model.shape.layers + kept.value
        note = Text(en=f"the first {-kept.value} are frozen", zh=f"前 {-kept.value} 层被冻结")
        fields["params.train_last"] = replace(kept, value=max(0, last), note=note)


def _advise(
    fields: dict[str, Kept],
    refused: list[tuple[Kept, Text]],
    facts: Facts,
    skills: Registry,
    name: str,
) -> Advice:
    """Make the advice; a value that this machine or model does not allow is let go, with its reason."""
    while True:
        entries = tuple(Entry(path=path, value=kept.value) for path, kept in fields.items())
        try:
            return make_advice(facts, skills, change=PlanChange(entries=entries), name=name)
        except TutorError as error:
            path = _blamed(fields, error.text.en)
            if path is None:
                raise
            refused.append((fields.pop(path), error.text))


def _blamed(fields: dict[str, Kept], words: str) -> str | None:
    """Return the field that an error speaks of, among those that may be let go."""
    there = [path for path in _NEGOTIABLE if path in fields]
    named = [path for path in there if path in words or path.rsplit(".", 1)[-1] in words]
    return named[0] if named else None


def _beyond(fields: dict[str, Kept], steps: int) -> list[tuple[str, Text]]:
    """Return intervals of the script that are longer than the whole run."""
    found: list[tuple[str, Text]] = []
    for path, english, chinese in (
        ("evaluation.every", "nothing is ever evaluated or saved", "永远不会评估和保存"),
        ("optim.warmup", "the learning rate never reaches its peak", "学习率永远到不了峰值"),
    ):
        kept = fields.get(path)
        value = kept.value if kept else None
        if isinstance(value, int | float) and value >= max(steps, 1) and steps:
            text = Text(
                en=f"{value:g} steps, but the whole run has about {steps}: {english}.",
                zh=f"{value:g} 步，而整个训练只有约 {steps} 步：{chinese}。",
            )
            found.append((path, text))
    return found


def _text_fields(script: Script, carried: Carried) -> dict[str, Kept]:
    """Return what follows from training on one column of text: every token carries loss."""
    column = carried.fields.get("data.columns.text")
    if column is None or task_of(script) == "classification":
        return {}
    return {
        "data.format": Kept("data.format", "text", column.line),
        "data.supervise": Kept("data.supervise", "all", column.line),
        "task": Kept("task", cast("JsonValue", _text_task()), column.line),
    }


def _text_task() -> Task:
    return "pretraining"


def _where(script: Script, line: int) -> tuple[str, str]:
    where = script.source.where(line)
    return f"your script, {where.en}", f"你的脚本{where.zh}"


def _why(script: Script, kept: Kept, usual: Why | None) -> Why:
    """Return the reason of a value of the script; without facts the alternative is what recipes say."""
    note = (f" ({kept.note.en})", f"（{kept.note.zh}）") if kept.note else ("", "")
    if kept.line is None:
        reason = Text(
            en=f"The default of {kept.default_of}: your script does not set it.",
            zh=f"{kept.default_of} 的默认值：你的脚本没有设置。",
        )
        source = f"default of {kept.default_of}"
    else:
        english, chinese = _where(script, kept.line)
        reason = Text(en=f"From {english}{note[0]}.", zh=f"来自{chinese}{note[1]}。")
        source = english
    other = usual.alternative if usual and kept.path not in _OWN_FILES else None
    if usual is None and kept.path in _USUAL:
        other = Text(en=_USUAL[kept.path][0], zh=_USUAL[kept.path][1])
    return Why(reason=reason, source=source, alternative=other, card=usual.card if usual else None)


def _usual(facts: Facts, skills: Registry, name: str) -> dict[str, tuple[JsonValue, Why]]:
    """Return what the tutor would advise by itself for the same method; nothing where it would advise against it."""
    try:
        advice = make_advice(facts, skills, name=name)
    except TutorError:
        return {}
    values = flatten(advice.plan)
    return {path: (values[path], why) for path, why in advice.why.items() if path in values}


def _why_model(script: Script, given: Given, source: str, why: dict[str, Why]) -> Why:
    english, chinese = _where(script, given.line)
    usual = why.get("model.source")
    mended = source != given.value
    reason = Text(
        en=f"From {english}" + (f", where it is called {given.value}." if mended else "."),
        zh=f"来自{chinese}" + (f"，那里写作 {given.value}。" if mended else "。"),
    )
    other = usual.alternative if usual else None
    return Why(reason=reason, source=english, alternative=other, card="deepseek-names")


def _from_line(
    script: Script, kept: Kept, value: JsonValue, usual: tuple[JsonValue, Why] | None
) -> Why:
    """Return the reason of a value of the script, with the tutor's own advice beside it."""
    if usual is None or kept.path in _OWN_FILES:
        return _why(script, kept, usual[1] if usual else None)
    advised, reason = usual
    why = _why(script, kept, reason)
    if advised == value:
        agreed = Text(
            en=f"{why.reason.en} It is also what the tutor advises.",
            zh=f"{why.reason.zh}这也是导师的建议。",
        )
        return why.model_copy(update={"reason": agreed})
    shown = f"{advised:g}" if isinstance(advised, float) else str(advised)
    other = Text(
        en=f"The tutor would advise {shown}. {reason.reason.en}",
        zh=f"导师建议 {shown}。{reason.reason.zh}",
    )
    return why.model_copy(update={"alternative": other})


def _why_skill(script: Script, usual: Why | None = None) -> Why:
    made, frozen = script.lora, script.frozen
    line = (
        made.line
        if made
        else frozen.line
        if frozen
        else script.trainer.line
        if script.trainer
        else 1
    )
    english, chinese = _where(script, line)
    how = {
        "lora": ("it trains a LoRA adapter", "它训练 LoRA 适配器"),
        "layer-freezing": ("it freezes part of the weights", "它冻结了部分权重"),
        "full-fine-tuning": ("it trains all weights", "它训练全部权重"),
    }[skill_of(script)]
    return Why(
        reason=Text(en=f"From {english}: {how[0]}.", zh=f"来自{chinese}：{how[1]}。"),
        source=english,
        card=usual.card if usual else None,
        alternative=usual.alternative if usual else None,
    )
