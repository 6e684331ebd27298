"""Where it runs, how it is judged and guarded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.situation import Field, Fields, Situation, because

if TYPE_CHECKING:
    from tutor_agent.core.plan import LaunchChoice, Task

METRICS: dict[Task, tuple[str, ...]] = {
    "chat": ("perplexity", "token_accuracy"),
    "completion": ("perplexity", "token_accuracy"),
    "pretraining": ("perplexity",),
    "classification": ("accuracy", "perplexity"),
    "qa": ("exact_match", "perplexity"),
    "summarization": ("perplexity", "token_accuracy"),
}
_METRIC_REASONS: dict[Task, tuple[str, str]] = {
    "chat": (
        "Many answers are right in a conversation, so perplexity and the share of tokens foreseen say more than equality.",
        "对话可以有多种正确回答，因此困惑度和词元命中率比完全一致更能说明问题。",
    ),
    "completion": (
        "Perplexity is the guide's measure of a language model; the share of tokens foreseen is easier to picture.",
        "困惑度是指南衡量语言模型的指标；词元命中率更直观。",
    ),
    "pretraining": (
        "Perplexity on held-out text is what continued pre-training is about.",
        "继续预训练看的就是留出文本上的困惑度。",
    ),
    "classification": (
        "Accuracy: the whole label must be right, as the guide wants it for classes.",
        "准确率：整个标签必须正确，与指南对分类任务的要求一致。",
    ),
    "qa": (
        "Exact match is the guide's accuracy for question answering; perplexity shows progress before answers are exact.",
        "完全匹配即指南所说的问答准确率；在答案完全正确之前，困惑度能反映进展。",
    ),
    "summarization": (
        "The guide names ROUGE, which is not computed yet; perplexity and foreseen tokens stand in for it.",
        "指南用的是 ROUGE，目前尚未计算；先用困惑度和词元命中率代替。",
    ),
}


def launch_fields(situation: Situation, launch: LaunchChoice, peak: str) -> Fields:
    """Return every field of `launch` as it was fitted; `peak` is the expected memory in words."""
    return {
        "launch.where": Field(
            launch.where,
            because(
                "This machine is enough.",
                "本机即可完成。",
                source=src.FACTS,
                card="hardware-needs",
                other=("A cluster from your configuration.", "配置中的集群。"),
            ),
        ),
        "launch.nodes": Field(
            launch.nodes,
            because(
                "One machine: no network between the steps.",
                "一台机器：步与步之间不走网络。",
                source=src.FACTS,
                card="hardware-needs",
            ),
        ),
        "launch.processes": _processes(situation, launch),
        "launch.sharding": _sharding(launch, peak),
        "launch.checkpointing": _checkpointing(launch, peak),
        "launch.offload": Field(
            launch.offload,
            because(
                "Optimizer states stay where they are used; moving them to the CPU slows every step.",
                "优化器状态留在设备上；放到 CPU 会拖慢每一步。",
                source=src.FORECAST,
                card="out-of-memory",
                other=(
                    "'cpu' with sharding, when nothing else makes it fit.",
                    "其他办法都放不下时，可在分片的同时用 'cpu'。",
                ),
            ),
        ),
    }


def evaluation_fields(situation: Situation, steps: int) -> Fields:
    """Return every field of `evaluation`."""
    every = 0.1 if steps >= 100 and not situation.cpu else 0.2
    rows = 50 if situation.cpu else 200
    if situation.task in {"classification", "qa"}:
        rows *= 2
    return {
        "evaluation.every": Field(
            every,
            because(
                f"{round(1 / every)} times in the run, and each time a checkpoint: enough to see the turn, cheap enough. The "
                f"guide's every 500 steps would {'never come' if steps < 500 else 'come rarely'} in about {steps} steps.",
                f"整个训练评估 {round(1 / every)} 次并各存一个检查点：既能看到拐点，又不太费时。指南的每 500 步一次，在约 {steps} 步里"
                f"{'一次也轮不到' if steps < 500 else '次数太少'}。",
                source=f"{src.ESFT}: every 100 of 500 steps; {src.GUIDE}: every 500 steps",
                card="learning-curve",
                other=("0.05 for a finer curve on long runs.", "长时间训练可用 0.05，曲线更细。"),
            ),
        ),
        "evaluation.metrics": Field(
            list(METRICS[situation.task]),
            because(
                *_METRIC_REASONS[situation.task],
                source=f"{src.GUIDE}: accuracy for classes and questions, perplexity for language models",
                card="before-after",
                other=(
                    "Known names: perplexity, token_accuracy, exact_match, accuracy.",
                    "可用：perplexity、token_accuracy、exact_match、accuracy。",
                ),
                assumed=situation.assumes("task"),
            ),
        ),
        **_keeping_fields(),
        "evaluation.max_rows": _max_rows(situation, rows),
    }


def guard_fields() -> Fields:
    """Return the fields of `guard`."""
    return {
        "guard.non_finite": Field(
            "stop",
            because(
                "The first NaN stops the run before it reaches the weights, and keeps the batch that caused it.",
                "一出现 NaN 就在写入权重之前停下，并保留肇事批次。",
                source="measured: transformers hides a NaN loss by default",
                card="nan-loss",
                other=(
                    "'skip' leaves the batch out, when a single bad row is known and harmless.",
                    "已知只是个别坏数据且无害时，用 'skip' 跳过该批。",
                ),
            ),
        ),
        "guard.autopilot": Field(
            "ask",
            because(
                "Repairs are proposed and you decide.",
                "只提出修复建议，由你决定。",
                source=src.FACTS,
                card="first-run",
                other=(
                    "'bounded' for the night: it applies only repairs that change neither method, data nor batch.",
                    "无人值守时用 'bounded'：只自动做不改方法、数据和批量的修复。",
                ),
            ),
        ),
    }


def _keeping_fields() -> Fields:
    """Return when it stops early, which checkpoint is kept, and what is shown."""
    return {
        "evaluation.early_stopping": Field(
            3,
            because(
                "Three evaluations without improvement end the run: the later steps would only learn rows by heart.",
                "连续 3 次评估没有改善就停止：再训练只是在背数据。",
                source=f"consensus of recipes; {src.GUIDE}: early stopping against over-fitting",
                card="early-stopping",
                other=(
                    "null to run to the end whatever happens.",
                    "设为 null 则无论如何都跑到底。",
                ),
            ),
        ),
        "evaluation.keep": Field(
            "best",
            because(
                "The checkpoint with the lowest validation loss becomes the result, as in the guide.",
                "验证损失最低的检查点作为结果，与指南一致。",
                source=f"{src.GUIDE}: load_best_model_at_end",
                card="early-stopping",
                other=("'last' when the schedule must run out.", "需要走完学习率计划时用 'last'。"),
            ),
        ),
        "evaluation.samples": Field(
            2,
            because(
                "Two answers before and two after, side by side: figures alone do not show style.",
                "训练前后各生成两条回答并排对比：只看数字看不出风格。",
                source=src.CPU_MEASURED,
                card="before-after",
                other=("5 when there is time; 0 to save it.", "时间充裕可设 5，想省时设 0。"),
            ),
        ),
    }


def _max_rows(situation: Situation, rows: int) -> Field:
    where = (
        ("on a CPU evaluation would else take as long as training", "CPU 上评估否则会和训练一样久")
        if situation.cpu
        else ("they take a small share of the time", "只占很少时间")
    )
    return Field(
        rows,
        because(
            f"{rows} rows give a figure that is steady enough, and {where[0]}.",
            f"{rows} 行得到的数字已足够稳定，而且{where[1]}。",
            source=src.FORECAST,
            card="learning-curve",
            other=("More when two runs differ by little.", "两次结果相差很小时可增大。"),
        ),
    )


def _processes(situation: Situation, launch: LaunchChoice) -> Field:
    if situation.cpu:
        reason = (
            "One process uses all CPU cores; two would only fight for them.",
            "一个进程就能用满所有 CPU 核；两个只会互相争抢。",
        )
    else:
        reason = (
            f"One process for each of {len(situation.facts.machine.accelerators)} GPUs.",
            f"{len(situation.facts.machine.accelerators)} 张 GPU，每张一个进程。",
        )
    return Field(
        launch.processes,
        because(
            *reason,
            source="torch.distributed",
            card="batch-size",
            other=("Fewer leaves GPUs to others.", "少用几个可把 GPU 留给他人。"),
        ),
    )


def _sharding(launch: LaunchChoice, peak: str) -> Field:
    if launch.sharding == "none":
        reason = (
            f"The whole state fits on each device (about {peak}), so nothing has to be gathered in every layer.",
            f"每个设备都放得下全部状态（约 {peak}），不必逐层收集参数。",
        )
    else:
        reason = (
            f"Weights, gradients and states are spread over {launch.processes} GPUs, which brings each to about {peak}; a "
            "whole copy would not fit.",
            f"权重、梯度和状态分散到 {launch.processes} 张 GPU，每张约 {peak}；完整一份放不下。",
        )
    return Field(
        launch.sharding,
        because(
            *reason,
            source=f"{src.FORECAST}; PyTorch FSDP2; DeepSeek's scripts use ZeRO-3",
            card="memory-needs",
            other=(
                "fsdp2 saves memory with several GPUs, at about a tenth more time.",
                "多卡时用 fsdp2 省显存，时间约增加一成。",
            ),
        ),
    )


def _checkpointing(launch: LaunchChoice, peak: str) -> Field:
    if launch.checkpointing:
        reason = (
            f"On: activations are recomputed, which brings the peak to about {peak} for a third more time.",
            f"打开：重新计算激活值，峰值降到约 {peak}，时间约增加三分之一。",
        )
    else:
        reason = (
            f"Off: with about {peak} it fits without recomputing, and is a quarter faster.",
            f"关闭：约 {peak} 即可放下，无需重算，快约四分之一。",
        )
    return Field(
        launch.checkpointing,
        because(
            *reason,
            source=src.FORECAST,
            card="gradient-checkpointing",
            other=(
                "Turn it on first when memory runs out.",
                "显存不足时首先打开它。",
            ),
        ),
    )
