"""The names that tools give to their metrics, and ours."""

from __future__ import annotations

import functools
import re

_NAMES: dict[str, tuple[str, ...]] = {
    "loss": ("loss", "train", "train_loss", "training_loss", "train/loss", "lm_loss", "train/loss_step", "loss_step", "train_loss_step", "lm loss", "损失", "训练损失"),
    "eval_loss": (
        "eval_loss", "val", "valid", "val_loss", "valid_loss", "validation_loss", "eval/loss", "val/loss", "dev_loss",
        "test_loss", "验证损失",
    ),
    "grad_norm": ("grad_norm", "gradient_norm", "gnorm", "grad norm", "train/grad_norm", "梯度范数"),
    "learning_rate": ("learning_rate", "lr", "train/learning_rate", "学习率"),
    "epoch": ("epoch", "train/epoch"),
    "step": (
        "step", "steps", "iter", "iters", "iteration", "global_step", "current_steps", "train/global_step",
        "global_step/max_steps", "num_updates", "train_num_updates", "步",
    ),
    "tokens_per_second": (
        "tokens_per_second", "tokens/sec", "tokens/s", "tok/s", "train_tokens_per_second",
        "tokens_per_sec", "tps", "train_speed(iter/s)", "it/sec", "samples/sec", "samples/s",
    ),
    "memory_gib": ("memory_gib", "memory(gib)", "max_memory"),
    "loss_scale": ("loss_scale", "loss scale"),
    "metric_up": (
        "bleu", "rouge", "rouge-l", "rouge_l", "rougel", "acc", "accuracy", "f1", "em", "score", "map",
        "exact_match", "eval_exact_match", "eval_em", "eval_accuracy", "eval_acc", "val_acc", "val_accuracy", "eval_f1", "eval_bleu", "eval_rougel",
        "eval_rouge", "pass@1", "reward", "domain_acc", "eval_score",
    ),
    "metric_down": ("wer", "cer", "ter", "eval_wer", "eval_cer", "word_error_rate"),
    "general_metric": ("general_acc", "general_accuracy", "mmlu", "ceval", "cmmlu"),
}  # fmt: skip
CANONICAL = {alias: name for name, aliases in _NAMES.items() for alias in aliases}


@functools.lru_cache(maxsize=1024)
def canonical(name: str) -> str | None:
    """Return our name of a metric, None when it is not one."""
    plain = name.strip().lower()
    for spelling in (plain, plain.replace(" ", "_"), plain.removeprefix("train_").strip()):
        if spelling in CANONICAL:
            return CANONICAL[spelling]
    if re.fullmatch(r"(val|valid|validation|eval|evaluation)[ _/]loss", plain):
        return "eval_loss"
    if re.fullmatch(r"train(ing)?[ _/]loss", plain):
        return "loss"
    return None
