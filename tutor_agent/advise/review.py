"""What a plan asks for that cannot be, and what it asks for that is dangerous."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.advise.combinations import combination_dangers, refuse_combination
from tutor_agent.advise.hyperparameters import usual_learning_rate
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.text import Text
from tutor_agent.estimate.forecast import loading_gib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tutor_agent.advise.situation import Situation
    from tutor_agent.core.facts import Facts, Machine
    from tutor_agent.core.forecast import Forecast
    from tutor_agent.core.plan import Plan

_FEW_ROWS = 100
_MANY_EPOCHS = 5
_FEW_STEPS = 20
_LONG_HOURS = 24.0
_SUPPORTED_VENDORS = {"nvidia", "amd"}
_CUDA_ONLY = {"adamw_8bit", "paged_adamw_8bit"}


def refuse_untrainable(facts: Facts) -> None:
    """Refuse data without rows and models without a class.

    Raises:
        NotPossibleError: Nothing can be trained from these facts.
    """
    fatal = next((problem for problem in facts.data.problems if problem.fatal), None)
    if fatal is not None:
        raise NotPossibleError(
            f"{facts.data.path} cannot be used as it is: {fatal.text.en}",
            f"{facts.data.path} 目前无法使用：{fatal.text.zh}",
        )
    if facts.data.rows < 1:
        raise NotPossibleError(
            f"{facts.data.path} has no usable row. Check it with `tutor inspect data`.",
            f"{facts.data.path} 没有可用的行。请用 `tutor inspect data` 检查。",
        )
    if facts.model.model_type == "deepseek":
        raise NotPossibleError(
            f"{facts.model.name} has no class of its own in transformers; it loads only by running code from its "
            "repository, which is off. Use deepseek-ai/DeepSeek-V2-Lite, of about the same size.",
            f"{facts.model.name} 在 transformers 中没有原生类，只能通过运行其仓库代码加载，而该功能是关闭的。"
            "请改用规模相近的 deepseek-ai/DeepSeek-V2-Lite。",
        )


def with_usable_devices(facts: Facts) -> tuple[Facts, tuple[Text, ...]]:
    """Return the facts without accelerators that training does not use yet, and a note about them."""
    cards = facts.machine.accelerators
    usable = tuple(card for card in cards if card.vendor in _SUPPORTED_VENDORS)
    if len(usable) == len(cards):
        return facts, ()
    left_out = ", ".join(sorted({card.name for card in cards if card not in usable}))
    note = Text(
        en=f"Training uses CUDA or ROCm so far; {left_out} is not used, and the plan is for "
        f"{'the other GPUs' if usable else 'the CPU'}.",
        zh=f"目前训练只支持 CUDA 和 ROCm；{left_out} 不会被使用，计划按{'其余 GPU' if usable else ' CPU '}制定。",
    )
    machine = facts.machine.model_copy(update={"accelerators": usable})
    return facts.model_copy(update={"machine": machine}), (note,)


def refuse_impossible(plan: Plan, machine: Machine) -> None:
    """Refuse what this machine cannot do at all.

    Raises:
        NotPossibleError: Too many processes, or a feature that the hardware lacks.
    """
    cards = machine.accelerators
    slots = len(cards) or max(1, machine.cores)
    if plan.launch.processes > slots:
        plural = "s" if slots > 1 else ""
        kind = (f"GPU{plural}", "张 GPU") if cards else (f"CPU core{plural}", "个 CPU 核")
        raise NotPossibleError(
            f"launch.processes = {plan.launch.processes}, but this machine has {slots} {kind[0]}: allowed are 1 to {slots}.",
            f"launch.processes = {plan.launch.processes}，但这台机器只有 {slots} {kind[1]}：可用 1 到 {slots}。",
        )
    _refuse_gpu_features(plan, machine)
    refuse_combination(plan, machine)
    if plan.launch.sharding != "none" and plan.world_size == 1:
        raise NotPossibleError(
            f"launch.sharding = {plan.launch.sharding!r} needs at least 2 processes; the plan has 1. Use 'none', or raise "
            "launch.processes.",
            f"launch.sharding = {plan.launch.sharding!r} 至少需要 2 个进程，计划中只有 1 个。请用 'none'，或增加 launch.processes。",
        )
    if plan.launch.offload == "cpu" and plan.launch.sharding == "none":
        raise NotPossibleError(
            "launch.offload = 'cpu' works only with sharding. Set launch.sharding to 'fsdp2', or launch.offload to 'none'.",
            "launch.offload = 'cpu' 只能与分片一起使用。请把 launch.sharding 设为 'fsdp2'，或把 launch.offload 设为 'none'。",
        )


def dangers(plan: Plan, situation: Situation, price: Forecast) -> tuple[Text, ...]:
    """Return what the person should know before starting `plan`."""
    return (
        *_memory_dangers(price),
        *_machine_dangers(plan, situation, price),
        *_rate_dangers(plan, situation),
        *_amount_dangers(plan, situation, price),
        *_data_dangers(plan, situation),
        *combination_dangers(plan, situation.facts.machine, situation.facts.model),
    )


def _refuse_gpu_features(plan: Plan, machine: Machine) -> None:
    cards = machine.accelerators
    if not cards and plan.optim.optimizer in _CUDA_ONLY:
        raise NotPossibleError(
            f"optim.optimizer = {plan.optim.optimizer!r} needs an NVIDIA GPU; this machine has none. Use 'adamw'.",
            f"optim.optimizer = {plan.optim.optimizer!r} 需要 NVIDIA GPU，这台机器没有。请用 'adamw'。",
        )
    if not cards and plan.model.dtype == "fp16":
        raise NotPossibleError(
            "model.dtype = 'fp16' needs a GPU; this machine has none. Use 'fp32'.",
            "model.dtype = 'fp16' 需要 GPU，这台机器没有。请用 'fp32'。",
        )
    without = next((card for card in cards if not card.bf16), None)
    if plan.model.dtype == "bf16" and without is not None:
        raise NotPossibleError(
            f"model.dtype = 'bf16' is not supported by {without.name}. Use 'fp16' or 'fp32'.",
            f"{without.name} 不支持 model.dtype = 'bf16'。请用 'fp16' 或 'fp32'。",
        )


def _memory_dangers(price: Forecast) -> Iterator[Text]:
    peak = price.peak_gib
    if price.fits == "no":
        yield Text(
            en=f"This will not fit: about {peak.expected:.1f} GiB are needed of {price.capacity_gib or 0:.1f} GiB. "
            f"{' '.join(note.en for note in price.notes[:2])}",
            zh=f"放不下：约需 {peak.expected:.1f} GiB，只有 {price.capacity_gib or 0:.1f} GiB。"
            f"{''.join(note.zh for note in price.notes[:2])}",
        )
    elif price.fits == "tight":
        yield Text(
            en=f"Memory is tight: {peak.expected:.1f} GiB expected, up to {peak.high:.1f} GiB possible, of "
            f"{price.capacity_gib or 0:.1f} GiB.",
            zh=f"内存紧张：预计 {peak.expected:.1f} GiB，最多可能 {peak.high:.1f} GiB，共 {price.capacity_gib or 0:.1f} GiB。",
        )
    elif price.fits == "unknown":
        yield Text(
            en=f"The machine's memory is unknown; about {peak.high:.1f} GiB should be free.",
            zh=f"不知道这台机器的内存大小；请确保约有 {peak.high:.1f} GiB 可用。",
        )


def _machine_dangers(plan: Plan, situation: Situation, price: Forecast) -> Iterator[Text]:
    machine = situation.facts.machine
    loading = loading_gib(situation.facts.model, plan, machine)
    if machine.accelerators and 0 < machine.ram_gib < loading:
        yield Text(
            en=f"While loading, {plan.launch.processes} processes hold about {loading:.0f} GiB of host memory together, and "
            f"this machine has {machine.ram_gib:.0f} GiB: the system may kill them.",
            zh=f"加载时 {plan.launch.processes} 个进程共占约 {loading:.0f} GiB 主机内存，而这台机器只有 {machine.ram_gib:.0f} GiB："
            "可能被系统终止。",
        )
    if 0 < machine.free_disk_gib < price.disk_gib:
        yield Text(
            en=f"Checkpoints and result take about {price.disk_gib:.1f} GiB; {machine.free_disk_gib:.1f} GiB of disk are free.",
            zh=f"检查点和结果约占 {price.disk_gib:.1f} GiB，磁盘只剩 {machine.free_disk_gib:.1f} GiB。",
        )
    if not machine.accelerators and plan.model.dtype == "bf16" and not machine.cpu_bf16:
        yield Text(
            en="model.dtype bf16 on a processor without bf16 instructions is emulated, and several times slower than fp32.",
            zh="处理器没有 bf16 指令，model.dtype bf16 只能模拟，比 fp32 慢数倍。",
        )


def _rate_dangers(plan: Plan, situation: Situation) -> Iterator[Text]:
    usual = usual_learning_rate(situation.footprint, situation.billions)
    rate = plan.optim.learning_rate
    if rate > 5 * usual:
        outcome = (
            ("the loss will diverge or become NaN", "损失会发散或变成 NaN")
            if rate > 50 * usual
            else ("the loss may rise instead of fall", "损失可能不降反升")
        )
        yield Text(
            en=f"optim.learning_rate {rate:g} is {rate / usual:.0f} times the usual {usual:g} for {plan.skill}: {outcome[0]}.",
            zh=f"optim.learning_rate {rate:g} 是 {plan.skill} 常用值 {usual:g} 的 {rate / usual:.0f} 倍：{outcome[1]}。",
        )
    elif rate < usual / 20:
        yield Text(
            en=f"optim.learning_rate {rate:g} is far below the usual {usual:g} for {plan.skill}: hardly anything will be learnt.",
            zh=f"optim.learning_rate {rate:g} 远低于 {plan.skill} 的常用值 {usual:g}：几乎学不到东西。",
        )
    if plan.optim.max_grad_norm == 0:
        yield Text(
            en="optim.max_grad_norm 0 switches gradient clipping off: one odd batch can ruin the weights.",
            zh="optim.max_grad_norm 为 0 即关闭梯度裁剪：一个异常批次就可能毁掉权重。",
        )
    if plan.optim.weight_decay > 0.3:
        yield Text(
            en=f"optim.weight_decay {plan.optim.weight_decay:g} pulls hard at every weight; up to 0.1 is usual.",
            zh=f"optim.weight_decay {plan.optim.weight_decay:g} 对权重拉得太狠；通常不超过 0.1。",
        )


def _amount_dangers(plan: Plan, situation: Situation, price: Forecast) -> Iterator[Text]:
    rows = situation.facts.data.rows
    if plan.optim.epochs > _MANY_EPOCHS:
        yield Text(
            en=f"optim.epochs {plan.optim.epochs:g}: most data over-fits after 3; early stopping "
            f"{'will end it' if plan.evaluation.early_stopping else 'is off, so nothing ends it'}.",
            zh=f"optim.epochs {plan.optim.epochs:g}：多数数据 3 轮后就会过拟合；"
            f"{'早停会提前结束' if plan.evaluation.early_stopping else '早停已关闭，不会提前结束'}。",
        )
    if price.steps < _FEW_STEPS:
        yield Text(
            en=f"Only {price.steps} optimizer steps with {plan.effective_batch} samples each: too few to learn much. More rows, "
            "a smaller batch or more epochs help.",
            zh=f"每步 {plan.effective_batch} 个样本，总共只有 {price.steps} 步：学不到多少。可增加数据、减小批量或增加轮数。",
        )
    warmup = plan.optim.warmup
    if warmup >= 1 and price.steps and warmup >= price.steps:
        yield Text(
            en=f"optim.warmup {warmup:g} steps outlast the run of {price.steps} steps: the full learning rate is never reached.",
            zh=f"optim.warmup {warmup:g} 步比整个训练的 {price.steps} 步还长：永远达不到设定的学习率。",
        )
    if rows < _FEW_ROWS:
        yield Text(
            en=f"{rows} rows are very few: the held-out figures rest on a handful of rows and mean little.",
            zh=f"{rows} 行数据非常少：留出评估只靠几行，数字参考价值有限。",
        )
    if price.hours.expected > _LONG_HOURS:
        yield Text(
            en=f"The run takes about {price.hours.expected:.0f} hours. Say how long it may take, and it will be cut to that.",
            zh=f"训练约需 {price.hours.expected:.0f} 小时。说出可接受的时长，我会据此缩减。",
        )


def _data_dangers(plan: Plan, situation: Situation) -> Iterator[Text]:
    data = situation.facts.data
    cut = situation.lengths.share_cut(plan.data.max_length)
    if cut > 0.05 and data.format != "text":
        yield Text(
            en=f"data.max_length {plan.data.max_length} cuts about {cut:.0%} of the samples.",
            zh=f"data.max_length {plan.data.max_length} 会截断约 {cut:.0%} 的样本。",
        )
    positions = situation.facts.model.shape.max_positions
    if positions and plan.data.max_length > positions:
        yield Text(
            en=f"data.max_length {plan.data.max_length} is more than the {positions} positions that the model knows.",
            zh=f"data.max_length {plan.data.max_length} 超过了模型支持的 {positions} 个位置。",
        )
    if data.duplicates > 0.05 * data.rows:
        yield Text(
            en=f"{data.duplicates} of {data.rows} rows repeat others; they are kept on one side of the split, but count more than "
            "once. Remove them if that is not meant.",
            zh=f"{data.rows} 行中有 {data.duplicates} 行重复；切分时会放在同一边，但会被多次计入。若非有意，请去重。",
        )
