"""Installed versions, without importing anything."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

STACK = (
    *("torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors"),
    *("gguf", "bitsandbytes", "flash-attn", "liger-kernel", "deepspeed", "torch-npu", "modelscope"),
    *("tensorboard", "wandb", "swanlab", "mlflow", "trackio"),
    *("huggingface-hub", "tutor-agent"),
)
"""What matters for training."""


def installed_packages(names: tuple[str, ...] = STACK) -> dict[str, str]:
    """Return the versions of those of `names` that are installed here."""
    found: dict[str, str] = {}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
