"""What a plan will cost on a machine: memory, time, disk."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.core.forecast import Forecast, Range
from tutor_agent.core.text import Text
from tutor_agent.estimate.lengths import curve_of
from tutor_agent.estimate.levers import best_lever, largest_part, lever_note
from tutor_agent.estimate.loss import LossSetting
from tutor_agent.estimate.memory import (
    FRAGMENTATION,
    GIB,
    Memory,
    Setting,
    memory,
    moving_bytes,
    resting_bytes,
)
from tutor_agent.estimate.speed import CPU_FLOPS_PER_CORE, Speed, speed
from tutor_agent.estimate.writing import writing_seconds

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts, Machine, ModelFacts
    from tutor_agent.core.plan import Plan
    from tutor_agent.estimate.footprint import Footprint

MARGIN_FACTOR = 1.2
MARGIN_GIB = 0.5
CUDA_CONTEXT_GIB = 0.55
NCCL_GIB = 0.5
CPU_PROCESS_GIB = 0.7
# Resident memory of a CPU process over the live tensors, measured on SmolLM2-135M in fp32: the
# allocator keeps what adapters' many short-lived tensors leave behind.
CPU_FRAGMENTATION = {"full": 1.3, "lora": 1.8, "freezing": 1.1}
KEPT_CHECKPOINTS = 3
# Upper bounds over tokenizers: SmolLM2 needs 1.6 tokens for a Chinese character.
_TOKENS_PER_CHARACTER = {"en": 0.5, "zh": 1.7}
_ANSWER_MARKS = 4
_START_SECONDS = 30.0
_LOAD_BYTES_PER_SECOND = 5e8
# What sorting by length leaves of the padding, and what compiling costs before the first step.
_BY_LENGTH = 1.03
_COMPILE_SECONDS = 120.0
_JOINED = frozenset(
    {"llama", "qwen2", "qwen3", "mistral", "granite", "olmo2", "deepseek_v2", "deepseek_v3"}
)

Fits = Literal["yes", "tight", "no", "unknown"]


class Work(NamedTuple):
    """How much there is to do."""

    rows: int
    """Training rows."""
    steps: int
    """Optimizer steps."""
    tokens: float
    """Real tokens over all steps."""
    cells: float
    """Tokens with padding over all steps."""
    evaluated: float
    """Tokens with padding in all evaluations."""
    length: float
    """Usual length of a padded sample."""


def forecast(
    plan: Plan,
    model: ModelFacts,
    machine: Machine,
    footprint: Footprint,
    data: DataFacts | None,
) -> Forecast:
    """Return memory, time and disk of `plan`, each with its spread.

    Without `data` the figures are for samples of `max_length` of which every token is learnt, as any
    trainer would do it, and there are no steps and hours.
    """
    setting = setting_of(plan, machine, data)
    joined = data is not None and joins_rows(plan, model, machine)
    if joined:
        setting = setting.model_copy(update={"masked": False})
    used = memory(model, footprint, setting)
    expected, context = _expected_gib(used, footprint, machine, setting)
    peak = Range(low=expected * 0.9, expected=expected, high=expected * MARGIN_FACTOR + MARGIN_GIB)
    capacity, usable = _capacity(machine, setting.processes, context)
    work = work_of(plan, data, joined=joined)
    pace = speed(model, footprint, machine, setting, work.length if data else plan.data.max_length)
    parts = {name: round(size / GIB, 3) for name, size in used.parts.items()}
    parts["context"] = round(context, 3)
    loading = _START_SECONDS + weight_bytes_total(model, setting) / _LOAD_BYTES_PER_SECOND
    loading += _COMPILE_SECONDS if setting.compiled else 0.0
    lever = best_lever(model, footprint, setting, len(machine.accelerators))
    return Forecast(
        peak_gib=_rounded(peak),
        parts=parts,
        peak_stage=used.stage,
        capacity_gib=capacity,
        fits=_fits(peak, usable),
        tokens_per_second=round(pace.training * (work.tokens / work.cells if data else 1.0), 1),
        steps=work.steps,
        hours=_hours(
            _moving_seconds(plan, model, data, work, pace, gpu=bool(machine.accelerators)),
            loading,
            pace,
        ),
        disk_gib=round(_disk_gib(model, footprint, setting), 2),
        trainable=footprint.trainable,
        notes=(
            largest_part(parts),
            *lever_note(lever),
            *_basis(machine, data, context),
        ),
    )


def setting_of(plan: Plan, machine: Machine, data: DataFacts | None) -> Setting:
    """Return what memory depends on; samples are as long as the data's longest, cut at `max_length`."""
    longest = plan.data.max_length
    if data is not None and not plan.data.packing:
        longest = max(1, min(longest, data.lengths.longest))
    return Setting(
        dtype=compute_dtype(plan, machine),
        optimizer=plan.optim.optimizer,
        micro_batch=plan.optim.micro_batch,
        length=longest,
        accumulate=plan.optim.accumulate,
        checkpointing=plan.launch.checkpointing,
        attention=plan.model.attention,
        processes=plan.world_size,
        sharding=plan.launch.sharding,
        offload=plan.launch.offload == "cpu",
        master=True,
        masked=data is not None and (plan.data.packing or plan.optim.micro_batch > 1),
        # The tutor's AdamW is the fused one; another trainer's may be the one with a temporary copy.
        foreach=data is None and bool(machine.accelerators) and plan.optim.optimizer == "adamw",
        compiled=plan.model.compile,
        loss=LossSetting(
            own=data is not None,
            fused=data is None and plan.model.liger,
            supervised=None if data is None else supervised_places(plan, data),
            classifier=plan.model.head == "classifier",
        ),
    )


def supervised_places(plan: Plan, data: DataFacts) -> int | None:
    """Return how many tokens of a sample carry loss at most; None when it may be all of them."""
    answer = longest_answer(data)
    if plan.data.supervise == "all" or plan.data.packing or answer is None:
        return None
    return answer


def longest_answer(data: DataFacts) -> int | None:
    """Return the tokens of the longest answer at most; None when no column holds the answers."""
    answer = data.roles.get("completion") or data.roles.get("label")
    column = next((c for c in data.columns if c.name == answer), None)
    if column is None:
        return None
    return math.ceil(column.longest * _TOKENS_PER_CHARACTER[data.language]) + _ANSWER_MARKS


def compute_dtype(plan: Plan, machine: Machine) -> Literal["bf16", "fp16", "fp32"]:
    """Return the precision that `auto` means on this machine."""
    if plan.model.dtype != "auto":
        return plan.model.dtype
    cards = machine.accelerators
    return "bf16" if cards and all(card.bf16 for card in cards) else "fp32"


def joins_rows(plan: Plan, model: ModelFacts, machine: Machine) -> bool:
    """Return whether the trainer joins the samples of a batch end to end: on a CPU, with plain attention.

    Then nothing is padded or masked. The trainer tries it on the model itself; here the kind of model stands in.
    """
    plain = plan.model.attention == "sdpa" and not plan.model.compile
    alone = plan.launch.sharding == "none" and plan.model.head == "language_model"
    return not machine.accelerators and plain and alone and model.model_type in _JOINED


def work_of(plan: Plan, data: DataFacts | None, *, joined: bool = False) -> Work:
    """Return steps and tokens of the whole run; samples that are joined end to end need no padding."""
    if data is None:
        length = float(plan.data.max_length)
        return Work(0, 0, 0.0, 0.0, 0.0, length)
    rows = training_rows(plan, data)
    units, mean, padded = _units(plan, data, rows)
    padded = mean if joined else padded
    batches = math.ceil(units / (plan.optim.micro_batch * plan.world_size))
    per_epoch = max(1, math.ceil(batches / plan.optim.accumulate))
    steps = math.ceil(per_epoch * plan.optim.epochs)
    passes = plan.optim.epochs
    if plan.optim.max_steps is not None and plan.optim.max_steps < steps:
        passes *= plan.optim.max_steps / steps
        steps = plan.optim.max_steps
    held_out = max(1, min(plan.evaluation.max_rows, held_out_rows(plan, data)))
    evaluations = evaluation_count(plan, steps) + 2
    return Work(
        rows=rows,
        steps=steps,
        tokens=units * mean * passes,
        cells=units * padded * passes,
        evaluated=held_out * padded * evaluations,
        length=padded,
    )


def _units(plan: Plan, data: DataFacts, rows: int) -> tuple[int, float, float]:
    """Return the sequences of an epoch, their mean length, and the length to which they are padded.

    Plain text is cut into pieces of `max_length`; all else is shortened to it.
    """
    curve, limit = curve_of(data), plan.data.max_length
    whole = float(data.lengths.longest) if data.format == "text" else float(limit)
    total = rows * curve.mean(whole)
    if plan.data.packing:
        units = max(1, math.ceil(total / limit))
        return units, total / units, total / units
    if data.format == "text":
        units = max(rows, math.ceil(total / limit))
        return units, total / units, max(total / units, min(curve.at(0.95), limit))
    mean = curve.mean(limit)
    padded = max(mean, curve.padded(limit, plan.optim.micro_batch))
    if plan.data.batching == "by_length":
        padded = min(padded, mean * _BY_LENGTH)
    return rows, mean, padded


def training_rows(plan: Plan, data: DataFacts) -> int:
    """Return the rows left for training when the held-out ones are put aside."""
    rows = min(data.rows, plan.data.limit or data.rows)
    parts = (plan.data.validation is None) + (plan.data.test is None)
    return max(1, rows - parts * round(rows * plan.data.holdout))


def held_out_rows(plan: Plan, data: DataFacts) -> int:
    """Return the rows of one held-out part."""
    rows = min(data.rows, plan.data.limit or data.rows)
    return max(1, round(rows * plan.data.holdout))


def evaluation_count(plan: Plan, steps: int) -> int:
    """Return how often it is evaluated while training."""
    every = plan.evaluation.every
    interval = max(1, round(steps * every)) if every < 1 else round(every)
    return steps // interval


def _expected_gib(
    used: Memory, footprint: Footprint, machine: Machine, setting: Setting
) -> tuple[float, float]:
    """Return the expected peak and what the process needs beside it."""
    if machine.accelerators:
        nccl = NCCL_GIB if setting.processes > 1 else 0.0
        return used.peak / GIB, CUDA_CONTEXT_GIB + nccl
    held = sum(used.parts[name] for name in ("weights", "states", "communication"))
    moving = (used.peak - held) / FRAGMENTATION * CPU_FRAGMENTATION[footprint.method]
    return (held + moving) / GIB + CPU_PROCESS_GIB, CPU_PROCESS_GIB


def _capacity(
    machine: Machine, processes: int, context: float
) -> tuple[float | None, float | None]:
    """Return the memory of one device and how much of it training may use."""
    if machine.accelerators:
        cards = machine.accelerators[:processes]
        smallest = min(card.memory_gib for card in cards)
        free = min(
            card.memory_gib if card.free_gib is None else min(card.memory_gib, card.free_gib)
            for card in cards
        )
        return smallest, free - context
    total = machine.ram_gib / processes
    free = (machine.free_ram_gib or machine.ram_gib) / processes
    return (total, free) if total > 0 else (None, None)


def _rounded(figures: Range) -> Range:
    return Range(
        low=round(figures.low, 3), expected=round(figures.expected, 3), high=round(figures.high, 3)
    )


def _fits(peak: Range, usable: float | None) -> Fits:
    if usable is None:
        return "unknown"
    if peak.high <= usable:
        return "yes"
    return "tight" if peak.expected <= usable else "no"


def _hours(moving: float, loading: float, pace: Speed) -> Range:
    """Return the range of a run that moves for so many seconds, once it has started."""
    if moving == 0:
        return Range(low=0.0, expected=0.0, high=0.0)

    def hours(factor: float) -> float:
        return round((moving / factor + loading) / 3600, 4)

    return Range(low=hours(pace.fastest), expected=hours(1.0), high=hours(pace.slowest))


def _moving_seconds(
    plan: Plan, model: ModelFacts, data: DataFacts | None, work: Work, pace: Speed, *, gpu: bool
) -> float:
    """Return the time of training, evaluating and writing answers before and after."""
    if data is None:
        return 0.0
    writing = writing_seconds(plan, model, longest_answer(data), pace.evaluation, gpu=gpu)
    return work.cells / pace.training + work.evaluated / pace.evaluation + 2 * writing


def loading_gib(model: ModelFacts, plan: Plan, machine: Machine) -> float:
    """Return the host memory in GiB while all processes of a machine load the weights."""
    setting = setting_of(plan, machine, None)
    return plan.launch.processes * resting_bytes(setting) * model.parameters.total / GIB


def weight_bytes_total(model: ModelFacts, setting: Setting) -> float:
    """Return the bytes of all weights at the precision of the run."""
    return model.parameters.total * (4.0 if setting.dtype == "fp32" else 2.0)


def _disk_gib(model: ModelFacts, footprint: Footprint, setting: Setting) -> float:
    """Return the most that is held at once: a checkpoint is written before another goes, and outweighs the result."""
    unit, trained = moving_bytes(footprint, setting), footprint.trainable
    weights = float(unit * trained)
    if footprint.method != "lora":
        weights += resting_bytes(setting) * (model.parameters.total - trained)
    states = 2.0 * unit * trained
    return (KEPT_CHECKPOINTS + 1) * (weights + states) / GIB


def _basis(machine: Machine, data: DataFacts | None, context: float) -> tuple[Text, ...]:
    """Return what the figures rest on."""
    notes: list[Text] = []
    if machine.accelerators:
        notes.append(
            Text(
                en=f"Memory is what the training process reserves; {context:.2f} GiB more go to the driver and are "
                "taken off the card's size. `fits` is yes only when the expected figure times 1.2 plus 0.5 GiB fits.",
                zh=f"显存指训练进程预留的部分；另有 {context:.2f} GiB 归驱动使用，已从显卡容量中扣除。"
                "只有预期值乘以 1.2 再加 0.5 GiB 仍放得下，才算“放得下”。",
            )
        )
    else:
        notes.append(
            Text(
                en="CPU figures are coarse: memory is scaled from a 135M model in fp32, speed from "
                f"{CPU_FLOPS_PER_CORE / 1e9:.0f} GFLOP/s a core; the run itself shows the true ones after a few steps.",
                zh="CPU 上的数字较粗略：内存由 135M 模型的 fp32 实测推算，速度按每核 "
                f"{CPU_FLOPS_PER_CORE / 1e9:.0f} GFLOP/s 估计；"
                "运行几步后即可看到真实值。",
            )
        )
    if data is None:
        notes.append(
            Text(
                en="No data was given: memory and speed are for samples of max_length of which every token is learnt, with all "
                "logits built as trainers usually do; hours cannot be told.",
                zh="没有给出数据：内存和速度按 max_length 长度、每个词元都要学习的样本计算，并像一般训练器那样生成全部 logits；"
                "无法估计时长。",
            )
        )
    elif not data.lengths.exact:
        notes.append(
            Text(
                en="Token counts are an estimate from the characters.", zh="词元数是按字符估算的。"
            )
        )
    return tuple(notes)
