"""What would save the most memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.core.text import Text
from tutor_agent.estimate.memory import GIB, Memory, Setting, memory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.facts import ModelFacts
    from tutor_agent.estimate.footprint import Footprint

_WORTH_NAMING_GIB = 0.1

_PARTS = {
    "weights": Text(en="the weights", zh="模型权重"),
    "gradients": Text(en="the gradients", zh="梯度"),
    "states": Text(en="the optimizer states", zh="优化器状态"),
    "activations": Text(en="the saved activations", zh="保存的激活值"),
    "loss": Text(en="the logits of the loss", zh="计算损失时的 logits"),
    "work": Text(en="the layer in work", zh="正在计算的一层"),
    "dequantised": Text(en="a layer brought back to 16 bits", zh="还原为 16 位的一层"),
    "communication": Text(en="the communication buffers", zh="通信缓冲区"),
    "context": Text(en="the process itself", zh="进程本身"),
}


class Lever(NamedTuple):
    """A change that saves memory."""

    change: Text
    saves_gib: float


def largest_part(parts: dict[str, float]) -> Text:
    """Return a sentence that names the largest part."""
    name = max(parts, key=lambda key: parts[key])
    words = _PARTS[name]
    return Text(
        en=f"The largest part is {words.en}: {parts[name]:.1f} GiB.",
        zh=f"占用最大的是{words.zh}：{parts[name]:.1f} GiB。",
    )


def best_lever(
    model: ModelFacts, footprint: Footprint, setting: Setting, devices: int
) -> Lever | None:
    """Return the change of settings that saves the most; None when nothing saves much."""
    now = memory(model, footprint, setting)
    found = [
        Lever(text, (now.peak - after.peak) / GIB)
        for text, after in _tries(model, footprint, setting, devices)
    ]
    best = max(found, key=lambda lever: lever.saves_gib, default=None)
    return best if best is not None and best.saves_gib > _WORTH_NAMING_GIB else None


def lever_note(lever: Lever | None) -> tuple[Text, ...]:
    """Return a sentence about the lever, if there is one."""
    if lever is None:
        return ()
    return (
        Text(
            en=f"What would save most: {lever.change.en}, about {lever.saves_gib:.1f} GiB.",
            zh=f"最省的办法：{lever.change.zh}，约省 {lever.saves_gib:.1f} GiB。",
        ),
    )


def _tries(
    model: ModelFacts, footprint: Footprint, setting: Setting, devices: int
) -> Iterator[tuple[Text, Memory]]:
    def with_setting(**update: object) -> Memory:
        return memory(model, footprint, setting.model_copy(update=update))

    if not setting.checkpointing:
        yield (
            Text(
                en="launch.checkpointing on (a third more time)",
                zh="打开 launch.checkpointing（时间约增加三分之一）",
            ),
            with_setting(checkpointing=True),
        )
    if setting.micro_batch > 1:
        half = max(1, setting.micro_batch // 2)
        yield (
            Text(
                en=f"optim.micro_batch {half} with twice the accumulation",
                zh=f"把 optim.micro_batch 设为 {half} 并加倍累积",
            ),
            with_setting(micro_batch=half, accumulate=setting.accumulate * 2),
        )
    elif setting.length >= 256:
        half = setting.length // 2
        yield (
            Text(en=f"data.max_length {half}", zh=f"把 data.max_length 设为 {half}"),
            with_setting(length=half),
        )
    if setting.sharding == "none" and devices > 1:
        yield (
            Text(
                en=f"launch.sharding fsdp2 over {devices} GPUs",
                zh=f"在 {devices} 张 GPU 上使用 launch.sharding fsdp2",
            ),
            with_setting(sharding="fsdp2", processes=devices),
        )
    if footprint.method == "full":
        yield (
            Text(en="the skill lora in place of full fine-tuning", zh="用 lora 代替全参数微调"),
            memory(model, _as_lora(model, footprint), setting),
        )


def _as_lora(model: ModelFacts, footprint: Footprint) -> Footprint:
    """Return adapters of one per cent of the weights, enough to see what LoRA would save."""
    return footprint.model_copy(
        update={
            "method": "lora",
            "trainable": model.parameters.total // 100,
            "trained_layers": 0,
        }
    )
