"""From a plan to transformers' arguments."""

from __future__ import annotations

import dataclasses
import math
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainingArguments

from tutor_agent.core.errors import NotPossibleError

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan
    from tutor_agent.training.model import Precision

_DECAY = 0.2
"""Share of all steps in which warmup_stable_decay falls to zero."""
_OPTIMIZERS = {
    "adamw": "adamw_torch_fused",
    "adamw_8bit": "adamw_8bit",
    "paged_adamw_8bit": "paged_adamw_8bit",
    "adafactor": "adafactor",
    "sgd": "sgd",
}


def total_steps(plan: Plan, items: int) -> int:
    """Return the optimizer steps of a run over `items` items, which fill whole batches."""
    in_epoch = math.ceil(items / plan.effective_batch)
    steps = math.ceil(plan.optim.epochs * in_epoch)
    return min(steps, plan.optim.max_steps) if plan.optim.max_steps else max(steps, 1)


def steps_between(share: float, steps: int) -> int:
    """Return a number of steps that is written as a share of all (below 1) or as itself."""
    return max(1, round(share * steps) if share < 1 else int(share))


def make_arguments(
    plan: Plan, folder: Path, steps: int, precision: Precision, block: str
) -> TrainingArguments:
    """Translate `plan` for a run of `steps` steps that saves into `folder`.

    Args:
        plan: The plan.
        folder: Where checkpoints go.
        steps: Optimizer steps of the whole run.
        precision: What the machine computes in.
        block: Class name of a transformer block, the unit of sharding.

    Raises:
        NotPossibleError: The plan asks for something that needs CUDA, and there is none.
    """
    cuda = torch.cuda.is_available()
    if "8bit" in plan.optim.optimizer and not cuda:
        raise NotPossibleError(
            f"optim.optimizer = {plan.optim.optimizer!r} needs a CUDA device; this machine has none. Use 'adamw'.",
            f"optim.optimizer = {plan.optim.optimizer!r} 需要 CUDA 设备，本机没有。请用 'adamw'。",
        )
    if plan.model.liger:
        _check_liger(cuda=cuda)
    every = steps_between(plan.evaluation.every, steps)
    return TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=plan.optim.micro_batch,
        gradient_accumulation_steps=plan.optim.accumulate,
        learning_rate=plan.optim.learning_rate,
        **_schedule(plan, steps),
        weight_decay=plan.optim.weight_decay,
        max_grad_norm=plan.optim.max_grad_norm,
        max_steps=steps,
        optim=_OPTIMIZERS[plan.optim.optimizer],
        seed=plan.optim.seed,
        data_seed=plan.optim.seed,
        full_determinism=plan.optim.deterministic,
        use_cpu=not cuda,
        bf16=precision.compute is torch.bfloat16,
        fp16=precision.compute is torch.float16,
        use_liger_kernel=plan.model.liger,
        torch_compile=plan.model.compile,
        logging_strategy="steps",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        # Rotation by age would delete the last good checkpoint of a run that diverges; see Checkpoints.
        save_total_limit=None,
        load_best_model_at_end=plan.evaluation.keep == "best",
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        report_to=[],
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_pin_memory=cuda,
        accelerator_config={"non_blocking": cuda},
        average_tokens_across_devices=True,
        ddp_find_unused_parameters=False,
        **_checkpointing(plan),
        **_sharding(plan, block),
    )


def _schedule(plan: Plan, steps: int) -> dict[str, Any]:
    """Return warm-up and shape of the learning rate; a plain `constant` would leave the warm-up out."""
    warmup = plan.optim.warmup
    schedule = plan.optim.schedule
    found: dict[str, Any] = {
        "lr_scheduler_type": "constant_with_warmup" if schedule == "constant" else schedule,
        "warmup_steps": round(warmup * steps) if warmup < 1 else int(warmup),
    }
    if schedule == "warmup_stable_decay":
        found["lr_scheduler_kwargs"] = {"num_decay_steps": max(1, round(_DECAY * steps))}
    return found


def _check_liger(*, cuda: bool) -> None:
    if not cuda:
        raise NotPossibleError(
            "model.liger = true needs a GPU; this machine has none. Set it to false.",
            "model.liger = true 需要 GPU，本机没有。请设为 false。",
        )
    if find_spec("liger_kernel") is None:
        raise NotPossibleError(
            "model.liger = true needs the package liger-kernel, which is not installed. Run `pip install liger-kernel`, "
            "or set it to false.",
            "model.liger = true 需要安装 liger-kernel。请运行 `pip install liger-kernel`，或将其设为 false。",
        )


def _checkpointing(plan: Plan) -> dict[str, Any]:
    """Return the switch under the name that the installed transformers takes, never re-entrant.

    The same one for FSDP2, whose own (accelerate's wrapper around each block) renames the weights, so that
    PEFT finds no adapter to save. FSDP2 knows a recomputed forward pass and gathers no weights twice for it.
    """
    if not plan.launch.checkpointing:
        return {}
    names = {field.name for field in dataclasses.fields(TrainingArguments)}
    name = (
        "activation_checkpointing"
        if "activation_checkpointing" in names
        else "gradient_checkpointing"
    )
    return {name: True, f"{name}_kwargs": {"use_reentrant": False}}


def _sharding(plan: Plan, block: str) -> dict[str, Any]:
    sharding, offload = plan.launch.sharding, plan.launch.offload == "cpu"
    if sharding == "none":
        return {}
    if sharding == "fsdp2":
        config = {
            "version": 2,
            "transformer_layer_cls_to_wrap": [block],
            "cpu_offload": offload,
            "state_dict_type": "FULL_STATE_DICT",
        }
        return {"fsdp": True, "fsdp_config": config}
    zero: dict[str, Any] = {"stage": int(sharding[-1])}
    if sharding == "zero3":
        # Without it a save holds the parts of the processes, which nothing but DeepSpeed can load.
        zero["stage3_gather_16bit_weights_on_model_save"] = True
    if offload:
        zero["offload_optimizer"] = {"device": "cpu"}
    return {
        "deepspeed": {
            "train_micro_batch_size_per_gpu": "auto",
            "gradient_accumulation_steps": "auto",
            "gradient_clipping": "auto",
            "bf16": {"enabled": "auto"},
            "fp16": {"enabled": "auto"},
            "zero_allow_untested_optimizer": True,
            "zero_optimization": zero,
        }
    }
