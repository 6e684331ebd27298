"""The summary that stays beside a run, in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.metric_names import METRICS
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text
from tutor_agent.runs.measures import main_metric

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.findings import Finding
    from tutor_agent.core.text import Language
    from tutor_agent.runs.folder import Lineage, RunFolder
    from tutor_agent.runs.ledger import Trial
    from tutor_agent.runs.measures import MetricChange
    from tutor_agent.runs.view import RunView

STATES = {
    "starting": Text(en="starting", zh="启动中"),
    "running": Text(en="running", zh="训练中"),
    "stopping": Text(en="stopping", zh="停止中"),
    "completed": Text(en="completed", zh="已完成"),
    "halted": Text(en="halted by the guard", zh="已被保护机制中止"),
    "stopped": Text(en="stopped", zh="已停止"),
    "failed": Text(en="failed", zh="失败"),
    "lost": Text(en="lost", zh="失联"),
}
"""States for people."""

_ROWS = {
    "model": Text(en="Model", zh="模型"),
    "skill": Text(en="Skill", zh="训练方式"),
    "data": Text(en="Training data", zh="训练数据"),
    "batch": Text(en="Samples per step", zh="每步样本数"),
    "rate": Text(en="Learning rate", zh="学习率"),
    "state": Text(en="State", zh="状态"),
    "steps": Text(en="Steps", zh="步数"),
    "time": Text(en="Time", zh="用时"),
    "train": Text(en="Training loss at the end", zh="最终训练损失"),
    "best": Text(en="Best validation loss", zh="最低验证损失"),
    "held_out": Text(en="Test loss, before → after", zh="测试损失（训练前 → 训练后）"),
    "parent": Text(en="Continues", zh="承接自"),
}
_METRIC_ROW = Text(en="Test {metric}, before → after", zh="测试{metric}（训练前 → 训练后）")
_TABLE = Text(en="| | |", zh="| | |")
_FINDINGS = Text(en="What was noticed", zh="发现的问题")
_NOTHING = Text(en="Nothing was amiss.", zh="没有发现问题。")
_SAMPLES = Text(en="Held-out answers, before and after", zh="留出样本的回答（训练前与训练后）")
_BEFORE = Text(en="before", zh="训练前")
_AFTER = Text(en="after", zh="训练后")
_REFERENCE = Text(en="in the data", zh="数据中的答案")
_LABELLED = Text(en="{label}: {answer}", zh="{label}：{answer}")
_GONE = Text(
    en="The repair worked: the fault of {parent} did not come back.",
    zh="修复有效：{parent} 的故障没有再出现。",
)
_BACK = Text(
    en="The repair did not work: the fault of {parent} came back.",
    zh="修复无效：{parent} 的故障又出现了。",
)
_HOLDS = Text(
    en="The repair holds: {held} steps without the fault of {parent}, well past where it showed.",
    zh="修复有效：{parent} 的故障已有 {held} 步没有再出现，并已远远越过当时出错的地方。",
)
_SO_FAR = Text(
    en="The repair has held for {held} steps so far; it is too early to say that the fault of {parent} is gone.",
    zh="修复至今坚持了 {held} 步；{parent} 的故障是否已消除，还要再看。",
)
_LEDGER = Text(en="Repairs that were tried", zh="修复记录")
_TRIAL = Text(
    en="{run}: {title} ({fix}{by}): {outcome}", zh="{run}：{title}（{fix}{by}）：{outcome}"
)
_BY_ITSELF = Text(en=", by the autopilot", zh="，自动修复")
_OUTCOMES = {
    "gone": Text(en="the fault is gone", zh="故障已消除"),
    "back": Text(en="the fault came back", zh="故障又出现了"),
    "open": Text(en="not yet known", zh="尚不清楚"),
}
_HELD = Text(en=", held for {held} steps", zh="，坚持了 {held} 步")
_BETTER = Text(
    en="On rows it never saw, the tuned model's loss is {change:.1%} lower than before.",
    zh="在从未见过的样本上，微调后的模型损失比训练前低 {change:.1%}。",
)
_METRIC = {
    "better": Text(
        en="By {metric}, the measure of this task, it is better: {before} → {after}{rows}.",
        zh="按本任务的指标“{metric}”，变好了：{before} → {after}{rows}。",
    ),
    "worse": Text(
        en="By {metric}, the measure of this task, it is worse: {before} → {after}{rows}.",
        zh="按本任务的指标“{metric}”，变差了：{before} → {after}{rows}。",
    ),
    "same": Text(
        en="By {metric}, the measure of this task, nothing changed: {before}{rows}.",
        zh="按本任务的指标“{metric}”，没有变化：{before}{rows}。",
    ),
}
_OVER = Text(en=", over {count} answers", zh="（{count} 条回答）")
_WORSE = Text(
    en="On rows it never saw, the tuned model is not better than before (loss {change:.1%} higher).",
    zh="在从未见过的样本上，微调后的模型没有变好（损失高 {change:.1%}）。",
)


def write_report(folder: RunFolder, view: RunView) -> None:
    """Write `report.md`: what ran, what came of it, what was noticed."""
    lineage = folder.load_lineage()
    parts = [f"# {view.name}", *(_part(view, lineage, language) for language in ("en", "zh"))]
    write_atomic(folder.report, "\n\n".join(parts) + "\n")


def verdict(view: RunView) -> Text | None:
    """Say whether the tuned model is better on held-out rows; None while that is not measured."""
    before, after = view.held_out_before, view.held_out_after
    if before is None or after is None or not before > 0:
        return None
    change = (before - after) / before
    return _BETTER.format(change=change) if change > 0 else _WORSE.format(change=abs(change))


def metric_verdict(metrics: Iterable[MetricChange], answered: int | None) -> Text | None:
    """Say what the task's own metric tells; None while it is not measured."""
    metric = main_metric(metrics)
    if metric is None or metric.outcome is None:
        return None
    rows = (
        _OVER.format(count=answered) if METRICS[metric.name].answers and answered else Text.same("")
    )
    figures = {"before": metric.shown(metric.before), "after": metric.shown(metric.after)}
    said = _METRIC[metric.outcome]
    return Text(
        en=said.en.format(metric=metric.title.en, rows=rows.en, **figures),
        zh=said.zh.format(metric=metric.title.zh, rows=rows.zh, **figures),
    )


def repair_verdict(view: RunView) -> Text | None:
    """Say whether the repair works; None for a run that repairs nothing, or an end that proves nothing."""
    said = _BACK if view.fault_gone is False else None
    if view.fault_gone:
        said = _HOLDS if view.active and view.held else _GONE
    elif said is None and view.active and view.held:
        said = _SO_FAR
    if said is None or view.parent is None:
        return None
    return said.format(parent=view.parent, held=view.held)


def ledger_texts(trials: Iterable[Trial]) -> list[Text]:
    """Say what was tried along a line of repairs, and what came of each."""
    return [_trial(trial) for trial in trials]


def _trial(trial: Trial) -> Text:
    by = _BY_ITSELF if trial.by == "autopilot" else Text.same("")
    outcome, title = _OUTCOMES[trial.outcome], trial.title
    held = _HELD.format(held=trial.held) if trial.held else Text.same("")
    names = {"run": trial.run, "fix": trial.fix}
    return Text(
        en=_TRIAL.en.format(
            **names, title=title.en.rstrip("."), by=by.en, outcome=outcome.en + held.en
        ),
        zh=_TRIAL.zh.format(
            **names, title=title.zh.rstrip("。"), by=by.zh, outcome=outcome.zh + held.zh
        ),
    )


def _part(view: RunView, lineage: Lineage, language: Language) -> str:
    lines = ["## English" if language == "en" else "## 中文", ""]
    texts = (
        verdict(view),
        metric_verdict(view.metrics, view.answered),
        repair_verdict(view),
        view.reason,
        view.autopilot,
    )
    said = [text.pick(language) for text in texts if text is not None]
    lines += [*said, ""] if said else []
    lines += [_TABLE.pick(language), "|---|---|", *_rows(view, lineage, language), ""]
    lines += [f"### {_FINDINGS.pick(language)}", "", *_findings(view.findings, language)]
    if view.trials:
        lines += ["", f"### {_LEDGER.pick(language)}", ""]
        lines += [f"- {text.pick(language)}" for text in ledger_texts(view.trials)]
    if view.samples:
        lines += ["", f"### {_SAMPLES.pick(language)}", "", *_samples(view, language)]
    return "\n".join(lines).rstrip()


def _rows(view: RunView, lineage: Lineage, language: Language) -> Iterable[str]:
    plan, state = view.plan, STATES[view.state].pick(language)
    values: dict[str, str | None] = {
        "model": plan.model.source,
        "skill": plan.skill,
        "data": plan.data.train,
        "batch": str(plan.effective_batch),
        "rate": f"{plan.optim.learning_rate:g}",
        "state": state,
        "steps": f"{view.step} / {view.total_steps or '?'}",
        "time": _duration(view.seconds),
        "train": _figure(view.loss),
        "best": f"{view.best:.4f} ({view.best_step})" if view.best is not None else None,
        "held_out": _change(view),
        "parent": _origin(lineage),
    }
    for key, value in values.items():
        if value is not None:
            yield f"| {_ROWS[key].pick(language)} | {_cell(value)} |"
    for metric in view.metrics:
        figures = f"{metric.shown(metric.before)} → {metric.shown(metric.after)}"
        title = _METRIC_ROW.format(metric=metric.title.pick(language)).pick(language)
        yield f"| {title} | {figures} |"


def _findings(findings: tuple[Finding, ...], language: Language) -> Iterable[str]:
    if not findings:
        yield _NOTHING.pick(language)
    for finding in findings:
        yield f"- **{finding.title.pick(language)}** (`{finding.cause}`, {finding.confidence:.0%})"
        for words in finding.evidence:
            yield f"  - {words.pick(language)}"
        for fix in finding.fixes:
            yield f"  - → {fix.title.pick(language)}"


def _samples(view: RunView, language: Language) -> Iterable[str]:
    for sample in view.samples:
        yield f"> {_quote(sample.prompt)}"
        yield ""
        named = (
            (_BEFORE, sample.before),
            (_AFTER, sample.after),
            (_REFERENCE, sample.reference or None),
        )
        for label, answer in named:
            if answer is not None:
                yield f"- {_LABELLED.format(label=label.pick(language), answer=_quote(answer)).pick(language)}"
        yield ""


def _change(view: RunView) -> str | None:
    if view.held_out_before is None and view.held_out_after is None:
        return None
    return f"{_figure(view.held_out_before) or '?'} → {_figure(view.held_out_after) or '?'}"


def _origin(lineage: Lineage) -> str | None:
    if lineage.parent is None:
        return None
    entries = ", ".join(f"{e.path} {e.op} {e.value}" for e in lineage.change.entries)
    details = "; ".join(filter(None, (lineage.cause, lineage.fix, entries)))
    return f"{lineage.parent} ({details})" if details else lineage.parent


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:.4f}"


def _duration(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _cell(words: str) -> str:
    return words.replace("|", "\\|").replace("\n", " ")


def _quote(words: str) -> str:
    """Bring an answer onto one line; an untrained model writes control characters as well."""
    return " ".join("".join(c if c.isprintable() else " " for c in words).split())
