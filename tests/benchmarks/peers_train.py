"""Train with another tool, in that tool's own environment and with that tool's own logging, well or badly.

python peers_train.py SPEC.json     (started by peers.py; imports nothing of this project)

The specification is a JSON object: `tool`, `model`, `rows` and `held_out` (JSON lines with `text`), `out`, `batch`,
`length`, `epochs`, `rate`, `clip`, `seed`, `threads`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch

Spec = dict[str, Any]


def common(spec: Spec) -> dict[str, Any]:
    """Return what both tools hand on to transformers."""
    return {
        "output_dir": spec["out"],
        "per_device_train_batch_size": spec["batch"],
        "per_device_eval_batch_size": spec["batch"],
        "num_train_epochs": spec["epochs"],
        "learning_rate": spec["rate"],
        "max_grad_norm": spec["clip"],
        "lr_scheduler_type": "cosine",
        "warmup_steps": 2,
        "seed": spec["seed"],
        "use_cpu": True,
        "bf16": False,
        "logging_steps": 1,
        "eval_strategy": "epoch",
        "save_strategy": "epoch",
        "save_total_limit": 1,
        "save_only_model": True,
    }


def trl(spec: Spec) -> None:
    """TRL's SFTTrainer, as its manual shows it, with TensorBoard."""
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    data: Any = load_dataset("json", data_files={"train": spec["rows"], "test": spec["held_out"]})
    adapters = LoraConfig(r=8, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    settings = {
        **common(spec),
        "max_length": spec["length"],
        "gradient_checkpointing": False,
        "report_to": ["tensorboard"],
    }
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32),
        args=SFTConfig(**settings),
        train_dataset=data["train"],
        eval_dataset=data["test"],
        peft_config=adapters,
    )
    trainer.train()
    trainer.save_state()


def llama_factory(spec: Spec) -> None:
    """LLaMA-Factory's own entry, every token trained (its stage `pt`)."""
    from llamafactory.train import tuner  # pyright: ignore[reportMissingImports]

    out = Path(spec["out"])
    lists = out.with_name(f"{out.name}-data")
    lists.mkdir(parents=True, exist_ok=True)
    listed = {
        name: {"file_name": spec[name], "columns": {"prompt": "text"}}
        for name in ("rows", "held_out")
    }
    (lists / "dataset_info.json").write_text(json.dumps(listed), encoding="utf-8")
    tuner.run_exp(
        {
            **common(spec),
            "model_name_or_path": spec["model"],
            "stage": "pt",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_target": "all",
            "lora_rank": 8,
            "lora_alpha": 16,
            "dataset": "rows",
            "eval_dataset": "held_out",
            "dataset_dir": str(lists),
            "cutoff_len": spec["length"],
            "packing": False,
            "disable_gradient_checkpointing": True,
            "overwrite_output_dir": True,
            "plot_loss": False,
            "report_to": "none",
        }
    )


TOOLS = {"trl": trl, "llama-factory": llama_factory}


def main() -> int:
    """Train as the specification says."""
    spec: Spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(spec["threads"])
    TOOLS[spec["tool"]](spec)
    return 0


if __name__ == "__main__":
    sys.exit(main())
