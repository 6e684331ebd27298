"""Where it runs, how it is guarded, and who else is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.situation import Field, Fields, Situation, because

if TYPE_CHECKING:
    from tutor_agent.core.plan import LaunchChoice


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


def tracker_fields() -> Fields:
    """Return `trackers`: none unless they are asked for."""
    return {
        "trackers": Field(
            [],
            because(
                "None: every figure is in the run folder, and `tutor show` and the app draw it; nothing leaves this machine.",
                "不使用：所有指标都在运行目录里，`tutor show` 和应用会画出曲线，数据不离开本机。",
                source=src.FACTS,
                card="experiment-trackers",
                other=(
                    "[tensorboard] to see curves of many runs in a browser; wandb, swanlab, mlflow and trackio too, once "
                    "installed.",
                    "想在浏览器里对比多次训练，可用 [tensorboard]；安装后也可用 wandb、swanlab、mlflow、trackio。",
                ),
            ),
        )
    }


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
