"""The recommended plan: method, memory, batch, learning rate, time."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.core.metric_names import METRICS, metrics_of
from tutor_agent.tui import figures
from tutor_agent.tui.paint import bar, dotted, hanging, line, lines, wrap
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.choices import Choice

if TYPE_CHECKING:
    from tutor_agent.core.advice import Advice
    from tutor_agent.core.plan import Plan
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

_MOST_METRICS = 4
FIT_STYLE = {"yes": "$healthy", "tight": "$caution", "no": "$trouble", "unknown": "$label"}
_SHARDED = {"none": "DDP", "fsdp2": "FSDP2", "zero2": "ZeRO-2", "zero3": "ZeRO-3"}


class PlanCard(Card):
    """One advice."""

    def __init__(self, advice: Advice) -> None:
        self.advice = advice
        super().__init__()

    def choices(self) -> tuple[Choice, ...]:
        """Start it, change it, ask why."""
        return (
            Choice("enter", "start", "plan.start"),
            Choice("e", "change", "plan.change"),
            Choice("w", "why", "plan.why"),
        )

    def title(self, words: Words) -> str:
        """Name the card."""
        return words("plan.title")

    def identity(self, words: Words) -> str:
        """Name the plan, its method and its parallelism."""
        return identity(self.advice, words)

    def paint(self, words: Words, width: int) -> Content:
        """Draw the rows, then what should be known before starting."""
        rows = hanging(plan_rows(self.advice, words, width), width)
        warnings = [
            line(("! ", "bold $caution") if first else "  ", (part, "$detail"))
            for text in self.advice.warnings
            for first, part in _marked(words.of(text), width - 2)
        ]
        return lines(rows, *warnings)


def plan_rows(advice: Advice, words: Words, width: int) -> list[Row]:
    """Return the rows of a plan: what a person decides on."""
    plan, price = advice.plan, advice.forecast
    return [
        (words("plan.model"), _model(plan)),
        (words("plan.method"), _method(advice, words)),
        (words("plan.memory"), _memory(advice, words, width)),
        (words("plan.batch"), _batch(plan, words)),
        (words("plan.learning_rate"), _learning_rate(plan, words)),
        (
            words("plan.time"),
            line(
                (
                    f"≈ {figures.duration(price.hours.expected * 3600, words.language)}",
                    "bold $value",
                ),
                (f" · {_length(plan, price.steps, words)}", "$detail"),
            ),
        ),
        (words("plan.judged"), _judged(plan, words)),
        *_extras(plan, words),
    ]


def _length(plan: Plan, steps: int, words: Words) -> str:
    """Say what ends the run: its passes over the data, or a number of steps before them."""
    epochs, counted = f"{plan.optim.epochs:g}", words("plan.steps", steps=f"{steps:,}")
    if plan.optim.max_steps is not None and plan.optim.max_steps <= steps:
        return words("plan.cut_short", steps=counted, epochs=words("plan.epochs", epochs=epochs))
    return f"{words('plan.epochs', epochs=epochs)} {counted}"


def _judged(plan: Plan, words: Words) -> Content:
    names = metrics_of(plan.task, plan.evaluation.metrics)
    titles = [words.of(METRICS[name].title) for name in names if name in METRICS]
    return dotted((title, "$detail") for title in titles[:_MOST_METRICS])


def _extras(plan: Plan, words: Words) -> list[Row]:
    """Return a row with what is not as usual: kernels, head, batches, trackers."""
    model, data = plan.model, plan.data
    said = [
        (model.attention != "sdpa", f"{model.attention} attention"),
        (model.liger, "Liger"),
        (model.compile, "torch.compile"),
        (model.head == "classifier", words("plan_extra.classifier")),
        (data.packing, words("plan_extra.packing")),
        (data.batching == "by_length" and not data.packing, words("plan_extra.by_length")),
        (plan.optim.optimizer != "adamw", plan.optim.optimizer),
        (plan.optim.deterministic, words("plan_extra.deterministic")),
        (bool(plan.trackers), ", ".join(plan.trackers)),
    ]
    parts = [(text, "$detail") for there, text in said if there]
    return [(words("plan.extras"), dotted(parts))] if parts else []


def identity(advice: Advice, words: Words) -> str:
    """Return name, method, precision and parallelism of a plan."""
    plan = advice.plan
    parts = [plan.name, skill_title(advice, words), plan.model.dtype]
    if plan.world_size > 1:
        parts.append(f"{_SHARDED[plan.launch.sharding]}×{plan.world_size}")
    return " · ".join(parts)


def skill_title(advice: Advice, words: Words) -> str:
    """Return what people call the plan's method."""
    found = next((c.title for c in advice.candidates if c.skill == advice.plan.skill), None)
    return words.of(found) or advice.plan.skill


def _marked(words: str, width: int) -> list[tuple[bool, str]]:
    return [(n == 0, part.plain) for n, part in enumerate(wrap(Content(words), width))]


def _model(plan: Plan) -> Content:
    name = PurePath(plan.model.source).name
    return line((name, "$value"), (" ← ", "$label"), (PurePath(plan.data.train).name, "$detail"))


def _method(advice: Advice, words: Words) -> Content:
    params = advice.plan.params
    parts: list[str] = []
    if "r" in params:
        parts.append(f"r={params['r']} α={params.get('alpha', '–')}")
    bits = params.get("quantization", "none")
    if bits != "none":
        parts.append(f"QLoRA {bits}")
    targets = params.get("targets")
    if isinstance(targets, str):
        parts.append(words.name(f"targets.{targets}", targets))
    elif isinstance(targets, list):
        parts.append(", ".join(str(target) for target in targets))
    if "train_last" in params:
        parts.append(words("plan.train_last", layers=params["train_last"]))
    parts.append(words("plan.trainable", count=figures.count(advice.forecast.trainable)))
    title = skill_title(advice, words)
    return line((title, "bold $value"), "  ", dotted((part, "$detail") for part in parts))


def _memory(advice: Advice, words: Words, width: int) -> Content:
    price = advice.forecast
    place = words("plan.per_gpu") if price.capacity_gib is None else ""
    expected, capacity = price.peak_gib.expected, price.capacity_gib
    if not capacity:
        return line((f"{figures.gib(expected)} GiB", "$value"), (f" {place}", "$detail"))
    style = FIT_STYLE[price.fits]
    return line(
        bar(expected / capacity, max(8, min(22, width - 36)), style),
        (f"  {figures.gib(expected)} / {figures.gib(capacity)} GiB", "$value"),
        (f"  {words(f'fits.{price.fits}')}", style if price.fits != "yes" else "$detail"),
    )


def _batch(plan: Plan, words: Words) -> Content:
    parts = [str(plan.optim.micro_batch)]
    if plan.world_size > 1:
        parts.append(words("plan.processes", count=plan.world_size))
    if plan.optim.accumulate > 1:
        parts.append(words("plan.accumulate", count=plan.optim.accumulate))
    sum_words = " × ".join(parts)
    head = f"{sum_words} = " if len(parts) > 1 else ""
    length = words("plan.max_length", tokens=f"{plan.data.max_length:,}")
    return line(
        (head, "$detail"), (str(plan.effective_batch), "bold $value"), (f" · {length}", "$detail")
    )


def _learning_rate(plan: Plan, words: Words) -> Content:
    optim = plan.optim
    warmup = figures.percent(optim.warmup) if optim.warmup < 1 else f"{optim.warmup:g}"
    schedule = words(f"schedule.{optim.schedule}")
    parts = [f"{words('plan.warmup', warmup=warmup)} → {schedule}"]
    if optim.max_grad_norm:
        parts.append(words("plan.clip", norm=f"{optim.max_grad_norm:g}"))
    return line(
        (figures.tiny(optim.learning_rate), "bold $value"),
        *((f" · {part}", "$detail") for part in parts),
    )
