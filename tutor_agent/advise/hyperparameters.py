"""How the weights move: learning rate, epochs, batch, and what surrounds them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tutor_agent.advise import sources as src
from tutor_agent.advise.situation import Field, Fields, Situation, because, billions_text

if TYPE_CHECKING:
    from tutor_agent.core.plan import Schedule
    from tutor_agent.estimate.footprint import Footprint

WANTED_STEPS = 100
MUCH_TEXT_TOKENS = 20_000_000
_FEW, _MANY, _VERY_MANY = 10_000, 50_000, 100_000


def optim_fields(situation: Situation, rows: int) -> Fields:
    """Return every field of `optim` but the batch, for `rows` training rows."""
    epochs = usual_epochs(situation)
    steps = math.ceil(math.ceil(rows / batch_target(rows, epochs)) * epochs)
    return {
        "optim.optimizer": _optimizer(situation),
        "optim.learning_rate": _learning_rate(situation, steps),
        "optim.schedule": _schedule(situation),
        "optim.warmup": _warmup(steps),
        "optim.weight_decay": _weight_decay(situation),
        "optim.epochs": _epochs(situation),
        "optim.max_steps": _max_steps(),
        "optim.max_grad_norm": _clipping(situation),
        "optim.seed": _seed(),
        "optim.deterministic": _deterministic(),
    }


def usual_learning_rate(footprint: Footprint, billions: float) -> float:
    """Return the learning rate that recipes agree on for this method and size."""
    if footprint.method == "lora":
        return 2e-4 if billions <= 14 else (1.5e-4 if billions < 30 else 1e-4)
    full = 5e-5 if billions < 1 else (2e-5 if billions < 6.5 else 1e-5)
    return full if footprint.method == "full" else 2 * full


def usual_epochs(situation: Situation) -> int:
    """Return the passes over the data that suit its amount and the wish."""
    rows = situation.facts.data.rows
    if situation.task == "pretraining":
        return 1
    if situation.wish in {"speed", "cost"}:
        return 2 if rows < _FEW else 1
    if situation.wish == "quality":
        return 3 if rows < _VERY_MANY else 2
    return 3 if rows < _FEW else (2 if rows < _VERY_MANY else 1)


def batch_target(rows: int, epochs: float) -> int:
    """Return the samples per optimizer step: large enough to be calm, small enough for many steps."""
    most = 16 if rows < _FEW else (32 if rows < _MANY else 64)
    for_steps = max(1.0, rows * epochs / WANTED_STEPS)
    size = 2 ** round(math.log2(for_steps))
    return max(min(4, rows), min(most, size))


def batch_fields(
    situation: Situation, micro_batch: int, accumulate: int, processes: int, steps: int
) -> Fields:
    """Return micro-batch and accumulation as they were fitted, with their reasons."""
    effective = micro_batch * accumulate * processes
    times = f"{micro_batch} x {accumulate} x {processes}"
    where_en = "the CPU, where more only takes memory" if situation.cpu else "one GPU"
    where_zh = "CPU（再大只是占内存）" if situation.cpu else "单张 GPU"
    return {
        "optim.micro_batch": Field(
            micro_batch,
            because(
                f"{micro_batch} samples at a time suit {where_en}; how many are gathered for a step is set apart, "
                "by accumulation.",
                f"一次处理 {micro_batch} 个样本适合{where_zh}；每步累计多少样本由累积次数另行决定。",
                source=src.FORECAST,
                card="batch-size",
                other=(
                    "Larger when memory is left over; then lower optim.accumulate by the same factor.",
                    "显存有余时可增大，同时把 optim.accumulate 按同样倍数调小。",
                ),
            ),
        ),
        "optim.accumulate": Field(
            accumulate,
            because(
                f"{times} = {effective} samples per step, about {steps} steps in all. The guide's 64 to 256 would leave "
                f"{max(1, steps * effective // 128)} steps at batch 128; recipes use 16 to 128, and LoRA bears large "
                "batches worse.",
                f"{times} = 每步 {effective} 个样本，总共约 {steps} 步。若按指南的 64～256（例如 128），只剩 "
                f"{max(1, steps * effective // 128)} 步；常见配方用 16～128，且 LoRA 对大批量更敏感。",
                source=f"{src.LORA_REGRET}; {src.ESFT}: 128; {src.QLORA}: 16; {src.GUIDE}: 64 to 256",
                card="gradient-accumulation",
                other=(
                    "A larger batch with a learning rate raised by its square root, once there are over 1000 steps.",
                    "步数超过 1000 时可以用更大的批量，学习率按其平方根提高。",
                ),
            ),
        ),
    }


def small_states(optimizer: str, peak: str) -> Field:
    """Return an optimizer with 8-bit states, taken because plain AdamW does not fit."""
    return Field(
        optimizer,
        because(
            f"Plain AdamW does not fit even with checkpointing; with its averages in one byte each the peak is about {peak}, and "
            "the result practically the same.",
            f"即使重算激活，普通 AdamW 也放不下；把两个滑动平均各用一个字节存，峰值约 {peak}，效果几乎不变。",
            source=f"{src.FORECAST}; 8-bit optimizers (arXiv:2110.02861)",
            card="eight-bit-optimizers",
            other=(
                "'adamw' on a larger GPU; LoRA needs no such states at all.",
                "换更大的显卡时用 'adamw'；LoRA 则根本不需要这么多状态。",
            ),
        ),
    )


def _learning_rate(situation: Situation, steps: int) -> Field:
    value = usual_learning_rate(situation.footprint, situation.billions)
    size = billions_text(situation.facts.model.parameters.total)
    if situation.method == "lora":
        why = because(
            f"{value:g} is usual for LoRA on {size}: about ten times what full fine-tuning bears, nearly whatever the "
            f"rank. The guide's 1e-5 to 5e-5 is for full fine-tuning; with it adapters hardly move in {steps} steps.",
            f"{value:g} 是 LoRA 在 {size} 模型上的常用值：约为全参数微调的十倍，几乎与秩无关。指南的 1e-5～5e-5 适用于全参数微调；"
            f"用在 LoRA 上，{steps} 步内适配器几乎不动。",
            source=f"{src.LORA_REGRET}; {src.UNSLOTH}: 2e-4; {src.QLORA}: 2e-4 (7B), 1e-4 (65B); {src.GUIDE}: 1e-5 to 5e-5",
            card="learning-rate",
            other=_lora_alternative(situation),
        )
    elif situation.method == "full":
        why = because(
            f"{value:g} for all weights of {size}: larger models want smaller rates (1e-5 from 7B up, 2e-5 below, up to "
            "5e-5 under 1B), as the guide's 1e-5 to 5e-5 says too.",
            f"对 {size} 模型的全部权重用 {value:g}：模型越大学习率越小（7B 以上 1e-5，以下 2e-5，1B 以下可到 5e-5），"
            "与指南的 1e-5～5e-5 一致。",
            source=f"{src.DEEPSEEK_CODER}: 2e-5; {src.LLAMA_FACTORY}: 1e-5; {src.AXOLOTL}: 1e-5 to 5e-5; {src.GUIDE}",
            card="learning-rate",
            other=(
                "1e-5 when the loss swings; never above 1e-4.",
                "损失震荡时用 1e-5；不要超过 1e-4。",
            ),
        )
    else:
        why = because(
            f"{value:g}: twice the rate of full fine-tuning on {size}, since only the top blocks move and the rest "
            "holds what was learnt. The guide's 1e-5 to 5e-5 is the cautious end.",
            f"{value:g}：是 {size} 模型全参数微调的两倍，因为只有顶部几层在动，其余层保留原有知识。指南的 1e-5～5e-5 偏保守。",
            source=f"{src.CPU_MEASURED}: 1e-4 learns as well as 5e-5 on all weights; {src.GUIDE}: 1e-5 to 5e-5",
            card="learning-rate",
            other=("Half of it when the loss swings.", "损失震荡时减半。"),
        )
    return Field(value, why)


def _lora_alternative(situation: Situation) -> tuple[str, str]:
    if "deepseek" in situation.facts.model.name.lower():
        return (
            "DeepSeek's own QLoRA script uses 2e-5, ten times less; a short pilot with 2e-5, 1e-4 and 2e-4 settles it.",
            "DeepSeek 自己的 QLoRA 脚本用 2e-5，小十倍；可以用 2e-5、1e-4、2e-4 各短跑一次来确定。",
        )
    return (
        "1e-4 when the loss swings; 3e-4 when it falls too slowly.",
        "损失震荡时用 1e-4；下降太慢时用 3e-4。",
    )


def _epochs(situation: Situation) -> Field:
    value, rows = usual_epochs(situation), situation.facts.data.rows
    if situation.task == "pretraining":
        reason = (
            "1 pass: text that is read twice teaches little more and is soon learnt by heart.",
            "1 轮：同一段文本读第二遍收获很小，还容易被背下来。",
        )
    else:
        reason = (
            f"{value} over {rows} rows: recipes use 1 to 3, and early stopping ends it sooner when validation loss "
            "rises. The guide's 10 to 30 is three to ten times what others use, and over-fits by the fourth pass.",
            f"{rows} 行数据训练 {value} 轮：常见配方为 1～3 轮，验证损失上升时早停会提前结束。指南的 10～30 轮是别人的 3～10 倍，"
            "一般第四轮起就会过拟合。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.UNSLOTH}, {src.AXOLOTL}: 1 to 3; {src.DEEPSEEK_CODER}: 3; {src.GUIDE}: 10 to 30",
            card="epochs",
            other=(
                "One more when validation loss is still falling at the end.",
                "结束时验证损失仍在下降，可再加一轮。",
            ),
            assumed=situation.assumes("wish"),
        ),
    )


def _optimizer(situation: Situation) -> Field:
    if situation.cpu:
        alternative = (
            "'adafactor' when memory is short: almost no states, a little slower to learn.",
            "内存不足时可用 'adafactor'：几乎不占状态内存，收敛略慢。",
        )
    else:
        alternative = (
            "'adamw_8bit' takes a quarter of the state memory, 'paged_adamw_8bit' spills over to main memory; both need the "
            "package bitsandbytes.",
            "'adamw_8bit' 的状态显存只有四分之一，'paged_adamw_8bit' 放不下时转到内存；两者都需要安装 bitsandbytes。",
        )
    return Field(
        "adamw",
        because(
            "AdamW is what every recipe for language models is tuned for.",
            "语言模型的各种配方都是围绕 AdamW 调出来的。",
            source=f"{src.TRANSFORMERS}; {src.DEEPSEEK_CODER}",
            card="optimizer",
            other=alternative,
        ),
    )


def usual_schedule(situation: Situation) -> Schedule:
    """Return a schedule that can be prolonged for much text, cosine for all else."""
    much = situation.facts.data.lengths.total >= MUCH_TEXT_TOKENS
    return "warmup_stable_decay" if situation.task == "pretraining" and much else "cosine"


def _schedule(situation: Situation) -> Field:
    value = usual_schedule(situation)
    if value == "warmup_stable_decay":
        reason = (
            "Much text: the rate stays at its peak and falls only at the end, so a checkpoint from the middle can go on "
            "with more text; cosine would have to know the length beforehand.",
            "文本量大：学习率保持在峰值，最后一段才下降，因此中途的检查点可以接着用更多文本训练；余弦则必须事先知道总步数。",
        )
        other = (
            "'cosine' when the amount of text is final.",
            "文本量已经确定时用 'cosine'。",
        )
    else:
        reason = (
            "Cosine: the rate falls slowly at first and is near zero at the end, so the last steps only polish.",
            "余弦：学习率先缓慢下降，结束时接近零，最后几步只做精修。",
        )
        other = (
            "'constant' when you mean to stop by hand; 'linear' behaves alike; 'warmup_stable_decay' when the run may be "
            "prolonged.",
            "打算手动停止时用 'constant'；'linear' 效果相近；以后可能加长训练时用 'warmup_stable_decay'。",
        )
    return Field(
        value,
        because(
            *reason,
            source=f"{src.DEEPSEEK_CODER}; {src.LLAMA_FACTORY}; MiniCPM (arXiv:2404.06395): warm-up, stable, decay; "
            f"{src.GUIDE}: warm-up and decay",
            card="schedule",
            other=other,
        ),
    )


def _warmup(steps: int) -> Field:
    value = 0.1 if steps < 200 else (0.05 if steps < 1000 else 0.03)
    return Field(
        value,
        because(
            f"The first {value:.0%} of about {steps} steps, so that the optimizer's averages settle before full speed. "
            "The guide's 500 steps suit runs of 5000 and more; here they could outlast the run.",
            f"约 {steps} 步中的前 {value:.0%}，让优化器的统计量先稳定下来。指南的 500 步适合 5000 步以上的训练；"
            "用在这里，预热可能比整个训练还长。",
            source=f"consensus of recipes: 3 to 10 per cent; {src.GUIDE}: 500 steps",
            card="warmup",
            other=("0.1 when the first steps spike.", "最初几步损失冲高时用 0.1。"),
        ),
    )


def _weight_decay(situation: Situation) -> Field:
    adapters = situation.method == "lora"
    value = 0.0 if adapters else 0.01
    reason = (
        (
            "0: the adapters are small and start at nothing, so there is little to hold down.",
            "0：适配器很小且从零开始，没有多少可约束的。",
        )
        if adapters
        else (
            "0.01, as the guide has it: a light pull that keeps weights from growing.",
            "0.01，与指南一致：轻微拉向零，防止权重变大。",
        )
    )
    return Field(
        value,
        because(
            *reason,
            source=f"consensus of recipes: 0 to 0.1; {src.UNSLOTH}: 0.01; {src.ESFT}: 0.1; {src.GUIDE}: 0.01",
            card="weight-decay",
            other=("Up to 0.1 when it over-fits.", "过拟合时可增至 0.1。"),
        ),
    )


def _max_steps() -> Field:
    return Field(
        None,
        because(
            "No limit of its own: the epochs decide.",
            "不另设上限，由轮数决定。",
            source=src.TRANSFORMERS,
            card="epochs",
            other=(
                "20 to 50 for a quick trial before the real run.",
                "正式训练前想快速试跑，可设 20～50。",
            ),
        ),
    )


def _clipping(situation: Situation) -> Field:
    quantised = situation.footprint.frozen_bits != "none"
    value = 0.3 if quantised else 1.0
    cut = (
        (
            "the QLoRA scripts clip harder, since 4-bit weights make gradients noisier",
            "QLoRA 脚本裁得更狠：4 比特权重让梯度噪声更大",
        )
        if quantised
        else ("one odd batch cannot throw the weights off", "单个异常批次不会把权重带偏")
    )
    return Field(
        value,
        because(
            f"Gradients are cut at a norm of {value}: {cut[0]}.",
            f"梯度范数裁剪到 {value}：{cut[1]}。",
            source=f"{src.TRANSFORMERS}; {src.ESFT}: 1.0; {src.QLORA}: 0.3; {src.GUIDE}: clip when unstable",
            card="gradient-clipping",
            other=("0.3 when spikes remain.", "仍有尖峰时用 0.3。"),
        ),
    )


def _seed() -> Field:
    return Field(
        42,
        because(
            "Any number does; a fixed one makes the split and the run repeatable.",
            "任意数都行；固定下来，切分和训练就能复现。",
            source=src.TRANSFORMERS,
            card="seed",
            other=(
                "Run two or three seeds before believing a small gain.",
                "提升很小时，换两三个种子再下结论。",
            ),
        ),
    )


def _deterministic() -> Field:
    return Field(
        False,
        because(
            "Off: the seed already repeats split, order and new weights; only the last bits of a sum may differ on a GPU, and "
            "kernels that never differ are slower.",
            "关闭：种子已能复现切分、顺序和新权重；GPU 上只有求和的末几位可能不同，而保证逐位一致的内核更慢。",
            source="PyTorch documentation: Reproducibility",
            card="seed",
            other=(
                "On to compare two runs bit by bit, on the same hardware and versions.",
                "需要在同样的硬件和版本上逐位比较两次训练时打开。",
            ),
        ),
    )
