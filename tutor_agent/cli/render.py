"""Facts, plans, runs and findings as lines of text."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich.cells import cell_len

from tutor_agent.core.changes import flatten
from tutor_agent.core.metric_names import METRICS, metrics_of
from tutor_agent.core.text import Text
from tutor_agent.runs.measures import beside_the_loss
from tutor_agent.runs.report import ledger_texts, metric_verdict, repair_verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.core.advice import Advice, Why
    from tutor_agent.core.changes import PlanChange
    from tutor_agent.core.facts import DataFacts, Machine, ModelFacts
    from tutor_agent.core.findings import Diagnosis, Finding
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Plan
    from tutor_agent.core.text import Language
    from tutor_agent.runs.view import RunView


def row(label: Text, value: str, language: Language, width: int = 14) -> str:
    """Return `label  value` with the label padded by its width on the screen."""
    words = label.pick(language)
    return f"  {words}{' ' * max(1, width - cell_len(words))}{value}"


def figure(value: float | None) -> str:
    """Return a number as people write it."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "∞"
    if value != 0 and (abs(value) < 1e-3 or abs(value) >= 1e6):
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.4g}"


def count(value: int) -> str:
    """Return a parameter count as 135M, 7.6B."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if value >= size:
            return f"{value / size:.3g}{unit}"
    return str(value)


def duration(hours: float, language: Language) -> str:
    """Return a time span in its natural unit."""
    minutes = hours * 60
    if minutes < 1.5:
        return Text(en=f"{minutes * 60:.0f} s", zh=f"{minutes * 60:.0f} 秒").pick(language)
    if minutes < 90:
        return Text(en=f"{minutes:.0f} min", zh=f"{minutes:.0f} 分钟").pick(language)
    return Text(en=f"{hours:.1f} h", zh=f"{hours:.1f} 小时").pick(language)


def machine_lines(machine: Machine, language: Language) -> Iterator[str]:
    """Describe a computer."""
    if machine.accelerators:
        first = machine.accelerators[0]
        bf16 = " · bf16" if first.bf16 else ""
        devices = f"{len(machine.accelerators)} × {first.name} · {first.memory_gib:.0f} GiB{bf16}"
    else:
        devices = Text(en="none (training on the CPU)", zh="无（用 CPU 训练）").pick(language)
    yield row(Text(en="GPU", zh="显卡"), devices, language)
    if not machine.described:
        yield row(
            Text(en="CPU", zh="处理器"),
            f"{machine.cpu} · {machine.cores} {Text(en='cores', zh='核').pick(language)}",
            language,
        )
        yield row(
            Text(en="memory", zh="内存"),
            f"{machine.free_ram_gib:.1f} / {machine.ram_gib:.1f} GiB "
            + Text(en="free", zh="可用").pick(language),
            language,
        )
        yield row(Text(en="disk", zh="磁盘"), f"{machine.free_disk_gib:.0f} GiB", language)
    for warning in machine.warnings:
        yield f"  ! {warning.pick(language)}"


def model_lines(model: ModelFacts, language: Language) -> Iterator[str]:
    """Describe a model."""
    shape, parameters = model.shape, model.parameters
    yield row(Text(en="model", zh="模型"), f"{model.name} · {model.architecture}", language)
    active = (
        "" if parameters.active == parameters.total else f" / {count(parameters.active)} active"
    )
    yield row(Text(en="parameters", zh="参数"), f"{count(parameters.total)}{active}", language)
    yield row(
        Text(en="layers", zh="层数"),
        f"{shape.layers} × {shape.hidden} · {shape.heads} heads ({shape.kv_heads} kv) × {shape.head_dim}"
        f" · mlp {shape.intermediate}",
        language,
    )
    yield row(
        Text(en="vocabulary", zh="词表"),
        f"{shape.vocab:,} · context {shape.max_positions:,} · {model.quantization or model.dtype}"
        + (f" · {model.licence}" if model.licence else ""),
        language,
    )
    for note in model.special:
        yield f"  · {note.pick(language)}"


def data_lines(data: DataFacts, language: Language) -> Iterator[str]:
    """Describe a data file."""
    yield row(
        Text(en="file", zh="文件"), f"{data.path} · {data.container} · {data.encoding}", language
    )
    roles = ", ".join(f"{role} ← {column}" for role, column in data.roles.items())
    yield row(Text(en="reads as", zh="理解为"), f"{data.task} · {data.format} · {roles}", language)
    repeats = Text(en="repeated", zh="重复").pick(language)
    yield row(
        Text(en="rows", zh="行数"), f"{data.rows:,} ({data.duplicates:,} {repeats})", language
    )
    lengths = data.lengths
    sign = "" if lengths.exact else "≈ "
    yield row(
        Text(en="tokens", zh="长度"),
        f"{sign}p50 {lengths.p50} · p95 {lengths.p95} · max {lengths.longest}",
        language,
    )
    for problem in data.problems[:12]:
        place = (
            f"{Text(en='line', zh='第').pick(language)} {problem.line}: " if problem.line else ""
        )
        yield f"  ! {place}{problem.text.pick(language)}"


def forecast_lines(forecast: Forecast, language: Language) -> Iterator[str]:
    """Describe what a plan will cost."""
    peak = forecast.peak_gib
    capacity = f" / {forecast.capacity_gib:.0f}" if forecast.capacity_gib else ""
    verdict = {
        "yes": Text(en="fits", zh="放得下"),
        "tight": Text(en="tight", zh="很紧"),
        "no": Text(en="does not fit", zh="放不下"),
        "unknown": Text(en="capacity unknown", zh="容量未知"),
    }[forecast.fits]
    yield row(
        Text(en="memory", zh="内存/显存"),
        f"{peak.expected:.1f}{capacity} GiB ({peak.low:.1f}–{peak.high:.1f}) · {verdict.pick(language)}",
        language,
    )
    if forecast.steps:
        hours = forecast.hours
        yield row(
            Text(en="time", zh="用时"),
            f"≈ {duration(hours.expected, language)} ({duration(hours.low, language)} – "
            f"{duration(hours.high, language)}) · {forecast.steps} steps",
            language,
        )
    yield row(Text(en="trains", zh="训练参数"), count(forecast.trainable), language)
    for note in forecast.notes:
        yield f"  · {note.pick(language)}"


def plan_lines(plan: Plan, language: Language) -> Iterator[str]:
    """Describe a plan in a few rows."""
    params = " · ".join(f"{key} {value}" for key, value in plan.params.items())
    yield row(Text(en="method", zh="方法"), f"{plan.skill} {params}".strip(), language)
    yield row(Text(en="model", zh="模型"), f"{plan.model.source} · {plan.model.dtype}", language)
    yield row(
        Text(en="data", zh="数据"), f"{plan.data.train} · ≤ {plan.data.max_length} tokens", language
    )
    optim = plan.optim
    yield row(
        Text(en="batch", zh="批量"),
        f"{optim.micro_batch} × {optim.accumulate} × {plan.world_size} = {plan.effective_batch}",
        language,
    )
    limit = f" · ≤ {optim.max_steps} steps" if optim.max_steps else ""
    yield row(
        Text(en="learning rate", zh="学习率"),
        f"{figure(optim.learning_rate)} · {optim.schedule} · warm-up {figure(optim.warmup)}"
        f" · {figure(optim.epochs)} epochs{limit}",
        language,
    )
    names = metrics_of(plan.task, plan.evaluation.metrics)
    titles = [METRICS[name].title.pick(language) for name in names if name in METRICS]
    yield row(Text(en="judged by", zh="评估"), " · ".join(titles), language)
    if extras := _extras(plan):
        yield row(Text(en="with", zh="配置"), " · ".join(extras), language)


def _extras(plan: Plan) -> list[str]:
    """Return the settings that are not as usual, as they stand in the plan."""
    model, data = plan.model, plan.data
    said = [
        (model.attention != "sdpa", f"attention {model.attention}"),
        (model.liger, "liger"),
        (model.compile, "torch.compile"),
        (model.head == "classifier", "classifier head"),
        (data.packing, "packing"),
        (data.batching == "by_length" and not data.packing, "batching by_length"),
        (plan.optim.optimizer != "adamw", plan.optim.optimizer),
        (plan.optim.deterministic, "deterministic"),
        (plan.launch.checkpointing, "checkpointing"),
        (plan.launch.sharding != "none", plan.launch.sharding),
        (bool(plan.trackers), f"trackers {', '.join(plan.trackers)}"),
    ]
    return [text for there, text in said if there]


def advice_lines(advice: Advice, language: Language) -> Iterator[str]:
    """Describe a plan with its price, its rivals and its warnings."""
    yield from plan_lines(advice.plan, language)
    yield from forecast_lines(advice.forecast, language)
    for candidate in advice.candidates:
        mark = "✓" if candidate.recommended else "·"
        yield f"  {mark} {candidate.title.pick(language)}: {candidate.verdict.pick(language)}"
    for warning in advice.warnings:
        yield f"  ! {warning.pick(language)}"


def why_lines(path: str, value: str, why: Why, language: Language) -> Iterator[str]:
    """Describe the reason of one field."""
    assumed = Text(en=" (assumed)", zh="（默认假设）").pick(language) if why.assumed else ""
    yield f"{path} = {value}{assumed}"
    yield f"  {why.reason.pick(language)}"
    if why.alternative:
        yield row(Text(en="otherwise", zh="也可以"), why.alternative.pick(language), language)
    if why.source:
        yield row(Text(en="source", zh="来源"), why.source, language)


def change_lines(before: Plan, change: PlanChange) -> Iterator[str]:
    """Describe a change of a plan, old value to new value."""
    old = flatten(before)
    for entry in change.entries:
        yield f"    {entry.path}: {old.get(entry.path)} → {entry.value}"


def finding_lines(finding: Finding, language: Language) -> Iterator[str]:
    """Describe a fault with its evidence and the ways out."""
    yield f"✖ {finding.title.pick(language)} [{finding.cause}, {finding.confidence:.0%}]"
    for item in finding.evidence:
        yield f"    + {item.pick(language)}"
    for item in finding.against:
        yield f"    − {item.pick(language)}"
    for fix in finding.fixes:
        yield f"    → {fix.title.pick(language)} ({fix.safety})"


def story_lines(story: tuple[Text, ...], language: Language) -> Iterator[str]:
    """Tell how a run came to be halted."""
    if story:
        yield Text(en="How it came about:", zh="事情经过：").pick(language)
    for number, sentence in enumerate(story, 1):
        yield f"  {number}. {sentence.pick(language)}"


def diagnosis_lines(diagnosis: Diagnosis) -> Iterator[str]:
    """Describe a verdict in the language of the question."""
    language = diagnosis.language
    if diagnosis.verdict == "healthy":
        yield Text(en="Nothing is wrong.", zh="没有问题，一切正常。").pick(language)
    elif diagnosis.verdict == "unknown":
        yield Text(en="The cause is not clear from this.", zh="仅凭这些还不能确定原因。").pick(
            language
        )
    for finding in diagnosis.findings:
        yield from finding_lines(finding, language)
    yield from story_lines(diagnosis.story, language)
    if diagnosis.note:
        yield diagnosis.note.pick(language)


def proposal_lines(proposal: FixProposal, language: Language) -> Iterator[str]:
    """Describe a repair before it is agreed to."""
    yield from finding_lines(proposal.finding, language)
    yield from story_lines(proposal.story, language)
    yield Text(en="Proposed repair: ", zh="建议修复：").pick(language) + proposal.fix.title.pick(
        language
    )
    yield from change_lines(proposal.before, proposal.change)
    start = proposal.resume_from or Text(en="the beginning", zh="头开始").pick(language)
    yield f"    {Text(en='from', zh='从').pick(language)} {start}"


def run_lines(run: RunView, language: Language) -> Iterator[str]:
    """Describe a run."""
    yield f"{run.name}  {run.state}  {run.step}/{run.total_steps}"
    yield row(
        Text(en="loss", zh="训练损失"),
        f"{figure(run.loss)} · {Text(en='validation', zh='验证').pick(language)} {figure(run.eval_loss)}",
        language,
    )
    if run.reason:
        yield row(Text(en="reason", zh="原因"), run.reason.pick(language), language)
    if run.parent:
        yield row(Text(en="repairs", zh="修复自"), run.parent, language)
    yield from ledger_lines(run, language)
    yield from result_lines(run, language)
    yield from story_lines(run.story, language)
    for finding in run.findings:
        yield from finding_lines(finding, language)


def ledger_lines(run: RunView, language: Language) -> Iterator[str]:
    """Describe what was tried along the line of repairs, and what the autopilot did at the end."""
    label = Text(en="tried", zh="修复记录")
    for number, text in enumerate(ledger_texts(run.trials)):
        yield row(Text.same("") if number else label, text.pick(language), language)
    if run.autopilot:
        yield f"  {run.autopilot.pick(language)}"


def better_by_lines(better_by: dict[str, str | None], language: Language) -> Iterator[str]:
    """Say which of two runs is better by each metric."""
    for name, run in better_by.items():
        yield row(METRICS[name].title, run or Text(en="equal", zh="相同").pick(language), language)


def result_lines(run: RunView, language: Language) -> Iterator[str]:
    """Describe what training changed on held-out rows, and whether a repair worked."""
    if outcome := repair_verdict(run):
        yield f"  {outcome.pick(language)}"
    before, after = run.held_out_before, run.held_out_after
    if before is not None and after is not None:
        change = (after - before) / before if before else 0.0
        yield row(
            Text(en="held-out loss", zh="留出集损失"),
            f"{before:.4f} → {after:.4f} ({change:+.1%}) · perplexity "
            f"{figure(math.exp(min(before, 50)))} → {figure(math.exp(min(after, 50)))}",
            language,
        )
    for metric in beside_the_loss(run.metrics):
        mark = {"better": " ✓", "worse": " ✗"}.get(metric.outcome or "", "")
        yield row(
            metric.title,
            f"{metric.shown(metric.before)} → {metric.shown(metric.after)}{mark}",
            language,
        )
    if outcome := metric_verdict(run.metrics, run.answered):
        yield f"  {outcome.pick(language)}"
    for sample in run.samples:
        yield row(Text(en="question", zh="问题"), sample.prompt, language)
        yield row(Text(en="  before", zh="  训练前"), sample.before or "–", language)
        yield row(Text(en="  after", zh="  训练后"), sample.after or "–", language)
