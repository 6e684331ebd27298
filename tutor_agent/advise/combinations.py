"""Settings that do not go together, or not with what is installed: refused, or warned of before the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise.data_fields import cannot_pack
from tutor_agent.advise.fit import SMALL_STATES
from tutor_agent.advise.kernels import (
    FLASH_PACKAGE,
    LIGER_MODELS,
    LIGER_PACKAGE,
    QUANTISER,
)
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.metric_names import METRICS, metrics_of
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.core.facts import Machine, ModelFacts
    from tutor_agent.core.plan import Plan

_ONLY_ON_GPU = ("flash", "flex")
_SENDING = {"wandb": "WANDB_MODE=offline", "swanlab": "SWANLAB_MODE=local"}


def refuse_combination(plan: Plan, machine: Machine) -> None:
    """Refuse settings that contradict each other, or the hardware.

    Raises:
        NotPossibleError: The plan cannot run; the message says which field to change.
    """
    _refuse_head(plan)
    _refuse_kernels(plan, machine)
    _refuse_quantisation(plan)


def combination_dangers(plan: Plan, machine: Machine, model: ModelFacts) -> Iterator[Text]:
    """Return what will stop the run, do nothing or cost more than it brings."""
    yield from _missing_packages(plan, machine)
    yield from _idle_kernels(plan, machine, model)
    yield from _metric_dangers(plan)
    for name in plan.trackers:
        if name in _SENDING and (machine.described or name in machine.packages):
            yield Text(
                en=f"trackers: {name} sends figures and settings to its server; set {_SENDING[name]} to keep them here.",
                zh=f"trackers：{name} 会把指标和配置发送到其服务器；想留在本机，请设置 {_SENDING[name]}。",
            )


def _refuse_head(plan: Plan) -> None:
    if plan.model.head != "classifier":
        return
    if plan.task != "classification":
        raise NotPossibleError(
            f"model.head = 'classifier' gives one score a class and cannot write, but the task is {plan.task!r}. Set task to "
            "'classification', or model.head to 'language_model'.",
            f"model.head = 'classifier' 只给每个类别打分，不能生成文字，而任务是 {plan.task!r}。"
            "请把 task 设为 'classification'，或把 model.head 设为 'language_model'。",
        )
    if plan.data.packing:
        raise NotPossibleError(
            "data.packing = true does not go with model.head = 'classifier': the score is read at the last token of a text. "
            "Set data.packing to false; data.batching 'by_length' saves most of the padding.",
            "data.packing = true 不能与 model.head = 'classifier' 一起使用：分数取自文本的最后一个词元。"
            "请把 data.packing 设为 false；data.batching 设为 'by_length' 可省下大半填充。",
        )


def _refuse_kernels(plan: Plan, machine: Machine) -> None:
    model, cards = plan.model, machine.accelerators
    if not cards and model.attention in _ONLY_ON_GPU:
        raise NotPossibleError(
            f"model.attention = {model.attention!r} needs a GPU; this machine has none. Use 'sdpa', which is exact and fast "
            "on a CPU too.",
            f"model.attention = {model.attention!r} 需要 GPU，这台机器没有。请用 'sdpa'，它在 CPU 上也精确而快速。",
        )
    if not cards and model.liger:
        raise NotPossibleError(
            "model.liger = true needs a GPU: the kernels are written in Triton, and this machine has none. Set it to false.",
            "model.liger = true 需要 GPU：这些内核用 Triton 编写，这台机器没有 GPU。请设为 false。",
        )
    if model.attention != "flash":
        return
    if model.dtype == "fp32":
        raise NotPossibleError(
            "model.attention = 'flash' computes in 16 bits only, but model.dtype is 'fp32'. Set model.dtype to 'bf16', or "
            "model.attention to 'sdpa'.",
            "model.attention = 'flash' 只支持 16 位计算，而 model.dtype 为 'fp32'。"
            "请把 model.dtype 设为 'bf16'，或把 model.attention 设为 'sdpa'。",
        )
    old = next((card for card in cards if card.vendor == "nvidia" and not card.bf16), None)
    if old is not None:
        raise NotPossibleError(
            f"model.attention = 'flash' needs a GPU of the Ampere generation or newer; {old.name} is older. Use 'sdpa'.",
            f"model.attention = 'flash' 需要 Ampere 或更新的显卡，{old.name} 较旧。请用 'sdpa'。",
        )


def _refuse_quantisation(plan: Plan) -> None:
    bits = plan.params.get("quantization", "none")
    if bits == "none":
        return
    if plan.skill in {"full-fine-tuning", "layer-freezing"}:
        raise NotPossibleError(
            f"params.quantization = {bits!r} does not go with the skill {plan.skill}: quantised weights cannot be trained, only "
            "adapters over them. Use the skill lora (QLoRA), or drop params.quantization.",
            f"params.quantization = {bits!r} 不能与技能 {plan.skill} 一起使用：量化后的权重不能训练，只能训练其上的适配器。"
            "请改用技能 lora（即 QLoRA），或去掉 params.quantization。",
        )
    if plan.launch.sharding != "none":
        raise NotPossibleError(
            f"params.quantization = {bits!r} does not go with launch.sharding = {plan.launch.sharding!r}: packed weights are "
            "not split over GPUs here. Set one of them to 'none'.",
            f"params.quantization = {bits!r} 不能与 launch.sharding = {plan.launch.sharding!r} 一起使用："
            "这里不会把打包后的权重拆到多张卡上。请把其中一个设为 'none'。",
        )


def _missing_packages(plan: Plan, machine: Machine) -> Iterator[Text]:
    for field, value, package, instead in _needed(plan):
        if machine.described or package in machine.packages:
            continue
        yield Text(
            en=f"{field} {value} needs the package {package}, which is not installed here; the run would stop at its start. "
            f"`pip install {package}`, or set {field} to {instead}.",
            zh=f"{field} {value} 需要 {package}，这里没有安装，训练一开始就会停下。"
            f"请执行 `pip install {package}`，或把 {field} 设为 {instead}。",
        )


def _needed(plan: Plan) -> Iterator[tuple[str, str, str, str]]:
    """Yield field, value, the package it needs, and the value that needs none."""
    if plan.model.attention == "flash":
        yield "model.attention", "flash", FLASH_PACKAGE, "sdpa"
    if plan.model.liger:
        yield "model.liger", "true", LIGER_PACKAGE, "false"
    if plan.optim.optimizer in SMALL_STATES:
        yield "optim.optimizer", plan.optim.optimizer, QUANTISER, "adamw"
    bits = plan.params.get("quantization", "none")
    if bits != "none":
        yield "params.quantization", str(bits), QUANTISER, "none"
    if plan.launch.sharding.startswith("zero"):
        yield "launch.sharding", plan.launch.sharding, "deepspeed", "fsdp2"
    for name in plan.trackers:
        yield "trackers", name, name, "[]"


def _idle_kernels(plan: Plan, machine: Machine, model: ModelFacts) -> Iterator[Text]:
    if plan.model.liger and model.model_type not in LIGER_MODELS:
        yield Text(
            en=f"model.liger: liger-kernel has no fused modules for {model.model_type or 'this model'}; it brings nothing. Set it "
            "to false.",
            zh=f"model.liger：liger-kernel 没有为 {model.model_type or '该模型'} 提供融合模块，打开也没有作用。请设为 false。",
        )
    if plan.data.packing and cannot_pack(model):
        yield Text(
            en=f"data.packing does not work with {model.name}: its sparse attention would look across packed samples, so the run "
            "would stop at its start. Set data.packing to false, and data.batching to 'by_length'.",
            zh=f"data.packing 不能用于 {model.name}：其稀疏注意力会越过打包样本的边界，训练一开始就会停下。"
            "请把 data.packing 设为 false，data.batching 设为 'by_length'。",
        )
    bits = plan.params.get("quantization", "none")
    if bits != "none" and not machine.accelerators:
        yield Text(
            en=f"params.quantization {bits} on a CPU: every product unpacks its weights first, so steps are slower, and loading "
            "still takes the memory of the whole model. It is for trying out; use 'none', or a GPU.",
            zh=f"在 CPU 上用 params.quantization {bits}：每次乘法都要先解包权重，步子更慢，加载时仍要整个模型的内存。"
            "只适合试一试；请用 'none'，或换用 GPU。",
        )
    if plan.model.compile and not machine.accelerators:
        yield Text(
            en="model.compile on a CPU takes minutes before the first step and gains little. Set it to false.",
            zh="在 CPU 上打开 model.compile，第一步之前要花几分钟，收益很小。请设为 false。",
        )
    elif plan.model.compile and not plan.data.packing:
        yield Text(
            en="model.compile without data.packing: every new length may be compiled anew, for minutes each. Turn packing on, or "
            "compile off.",
            zh="打开了 model.compile 却没有打开 data.packing：每遇到新的长度都可能重新编译几分钟。请打开打包，或关闭编译。",
        )


def _metric_dangers(plan: Plan) -> Iterator[Text]:
    names = metrics_of(plan.task, plan.evaluation.metrics)
    unknown = [name for name in names if name not in METRICS]
    if unknown:
        yield Text(
            en=f"evaluation.metrics: there is no {', '.join(unknown)}. Known: {', '.join(METRICS)}.",
            zh=f"evaluation.metrics：没有 {'、'.join(unknown)}。可用：{'、'.join(METRICS)}。",
        )
    written = [name for name in names if name in METRICS and METRICS[name].answers]
    silent = plan.evaluation.generated_rows == 0 and plan.model.head == "language_model"
    if written and silent:
        yield Text(
            en=f"evaluation.generated_rows is 0, so {', '.join(written)} cannot be measured before and after. Set it to 32 or more.",
            zh=f"evaluation.generated_rows 为 0，训练前后无法测量 {'、'.join(written)}。请设为 32 或更多。",
        )
