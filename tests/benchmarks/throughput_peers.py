"""Train with another tool, in that tool's own environment, and write down when each step ended.

python throughput_peers.py SPEC.json     (started by throughput.py; imports nothing of this project)

The specification is a JSON object: `tool`, `setting`, `model`, `rows` (JSON lines with `text`), `held_out`, `out`,
`batch`, `length`, `steps`, `seed`, `rate`, `rank`, `threads`, `memory`. What is written to `out/meter.json` holds the
real tokens and the end of every step, the loss on the held-out rows, and on request the peak memory of one step.
"""

from __future__ import annotations

import json
import sys
import time
import weakref
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

Spec = dict[str, Any]
IGNORED = -100


class Live(TorchDispatchMode):
    """Bytes of all tensors made while it is on, at their most (storages alive at once)."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = self.peak = 0
        self._known: dict[int, Any] = {}

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        before = {
            tensor.untyped_storage()._cdata
            for tensor in tree_iter((args, kwargs))
            if isinstance(tensor, torch.Tensor)
        }
        found = function(*args, **(kwargs or {}))
        for tensor in tree_iter(found):
            if isinstance(tensor, torch.Tensor):
                self._meet(tensor.untyped_storage(), before)
        return found

    def _meet(self, storage: torch.UntypedStorage, before: set[int]) -> None:
        key, size = storage._cdata, storage.nbytes()
        if key in self._known or key in before:
            return

        def gone(_: Any) -> None:
            if self._known.pop(key, None) is not None:
                self.bytes -= size

        self._known[key] = weakref.ref(storage, gone)
        self.bytes += size
        self.peak = max(self.peak, self.bytes)


class Meter(TrainerCallback):
    """Counts the real tokens that a model reads, and notes when each step ends."""

    def __init__(self, *, memory: bool) -> None:
        self._memory = memory
        self._tokens = 0
        self._live: Live | None = None
        self.steps: list[dict[str, float]] = []
        self.peak_bytes: int | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Look at everything that goes into the model."""
        kwargs["model"].register_forward_pre_hook(self._count, with_kwargs=True)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Follow the memory of the second step, when the optimizer has its state."""
        if self._memory and state.global_step == 1:
            self._live = Live()
            self._live.__enter__()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the step."""
        if self._live is not None:
            self._live.__exit__(None, None, None)
            self.peak_bytes, self._live = self._live.peak, None
        self.steps.append({"t": time.perf_counter(), "tokens": self._tokens})
        self._tokens = 0

    def _count(self, module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        if not module.training:
            return
        mask = kwargs.get("attention_mask")
        ids = kwargs["input_ids"]
        plain = mask is not None and mask.dim() == 2
        self._tokens += int((mask != 0).sum()) if plain else ids.numel()


def rows_of(path: str) -> list[str]:
    """Return the texts of a file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["text"] for line in lines if line.strip()]


def encoded(spec: Spec, tokenizer: Any) -> list[dict[str, list[int]]]:
    """Return the rows as token ids, capped."""
    return [
        {"input_ids": tokenizer(text)["input_ids"][: spec["length"]]}
        for text in rows_of(spec["rows"])
    ]


def adapted(spec: Spec) -> Any:
    """Return the model with fresh adapters."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(spec["seed"])
    model = AutoModelForCausalLM.from_pretrained(
        spec["model"], dtype=torch.float32, attn_implementation="sdpa"
    )
    return get_peft_model(model, lora(spec, LoraConfig))


def lora(spec: Spec, kind: Any) -> Any:
    """Return the adapters that everybody trains."""
    return kind(
        r=spec["rank"],
        lora_alpha=2 * spec["rank"],
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )


def arguments(spec: Spec, kind: Any = TrainingArguments, **more: Any) -> Any:
    """Return what everybody trains with."""
    settings: dict[str, Any] = {
        "output_dir": spec["out"],
        "per_device_train_batch_size": spec["batch"],
        "max_steps": spec["steps"],
        "learning_rate": spec["rate"],
        "lr_scheduler_type": "constant",
        "seed": spec["seed"],
        "use_cpu": True,
        "bf16": False,
        "report_to": [],
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "gradient_checkpointing": False,
    }
    return kind(**(settings | more))


def held_out_loss(spec: Spec, model: Any, tokenizer: Any) -> float:
    """Return the mean loss of every token of the held-out rows, each row by itself."""
    model.eval()
    total = count = 0.0
    with torch.no_grad():
        for text in rows_of(spec["held_out"]):
            ids = torch.tensor([tokenizer(text)["input_ids"][: spec["length"]]])
            logits = model(input_ids=ids, use_cache=False).logits
            losses = torch.nn.functional.cross_entropy(logits[0, :-1], ids[0, 1:], reduction="sum")
            total, count = total + float(losses), count + ids.numel() - 1
    return total / count


def padded(rows: list[list[int]], width: int) -> dict[str, torch.Tensor]:
    """Return a batch of rows filled up to `width`, with loss on every real token."""
    blank = [width - len(row) for row in rows]
    return {
        "input_ids": torch.tensor([r + [0] * n for r, n in zip(rows, blank, strict=True)]),
        "attention_mask": torch.tensor([[1] * (width - n) + [0] * n for n in blank]),
        "labels": torch.tensor([r + [IGNORED] * n for r, n in zip(rows, blank, strict=True)]),
    }


def transformers_trainer(spec: Spec, meter: Meter) -> Any:
    """transformers' Trainer: rows of a batch joined into one, or the guide's padding to the longest allowed."""
    from transformers import DataCollatorWithFlattening

    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    rows: Any = encoded(spec, tokenizer)

    def to_the_longest_allowed(batch: list[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
        return padded([row["input_ids"] for row in batch], spec["length"])

    trainer = Trainer(
        model=adapted(spec),
        args=arguments(spec, remove_unused_columns=False),
        train_dataset=rows,
        data_collator=to_the_longest_allowed
        if spec["setting"] == "padded to the longest allowed"
        else DataCollatorWithFlattening(),
        callbacks=[meter],
    )
    trainer.train()
    return trainer.model


def trl(spec: Spec, meter: Meter) -> Any:
    """TRL's SFTTrainer on the texts."""
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    settings: dict[str, Any] = {
        "default padding": {},
        "packing": {"packing": True, "per_device_train_batch_size": 1},
        # It does not cut rows by itself; these are cut already.
        "padding free": {"padding_free": True, "max_length": None},
    }[spec["setting"]]
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(
            spec["model"], dtype=torch.float32, attn_implementation="sdpa"
        ),
        args=arguments(spec, SFTConfig, **({"max_length": spec["length"]} | settings)),
        train_dataset=Dataset.from_list([{"text": text} for text in rows_of(spec["rows"])]),
        processing_class=AutoTokenizer.from_pretrained(spec["model"]),
        peft_config=lora(spec, LoraConfig),
        callbacks=[meter],
    )
    trainer.train()
    return trainer.model


def llama_factory(spec: Spec, meter: Meter) -> Any:
    """LLaMA-Factory on the texts, every token trained (its stage `pt`)."""
    from llamafactory.train import tuner  # pyright: ignore[reportMissingImports]

    out = Path(spec["out"])
    out.mkdir(parents=True, exist_ok=True)
    listed = {"rows": {"file_name": spec["rows"], "columns": {"prompt": "text"}}}
    (out / "dataset_info.json").write_text(json.dumps(listed), encoding="utf-8")
    packed = spec["setting"] == "packing"
    seen: list[Any] = []

    class Keep(TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            seen.append(kwargs["model"])

    tuner.run_exp(
        {
            "model_name_or_path": spec["model"],
            "stage": "pt",
            "do_train": True,
            "finetuning_type": "lora",
            "lora_target": "all",
            "lora_rank": spec["rank"],
            "lora_alpha": 2 * spec["rank"],
            "dataset": "rows",
            "dataset_dir": str(out),
            "cutoff_len": spec["length"],
            "packing": packed,
            "flash_attn": "sdpa",
            "disable_gradient_checkpointing": True,
            "output_dir": str(out / "saved"),
            "per_device_train_batch_size": 1 if packed else spec["batch"],
            "gradient_accumulation_steps": 1,
            "max_steps": spec["steps"],
            "learning_rate": spec["rate"],
            "lr_scheduler_type": "constant",
            "seed": spec["seed"],
            "use_cpu": True,
            "report_to": "none",
            "save_strategy": "no",
            "logging_steps": 1,
        },
        callbacks=[meter, Keep()],
    )
    return seen[0]


TOOLS = {"transformers": transformers_trainer, "trl": trl, "llama-factory": llama_factory}


def main() -> int:
    """Train as the specification says."""
    spec: Spec = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    torch.set_num_threads(spec["threads"])
    meter = Meter(memory=spec["memory"])
    model = TOOLS[spec["tool"]](spec, meter)
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    found = {
        "steps": meter.steps,
        "peak_bytes": meter.peak_bytes,
        "held_out_loss": held_out_loss(spec, model, tokenizer) if spec["held_out"] else None,
    }
    Path(spec["out"]).mkdir(parents=True, exist_ok=True)
    (Path(spec["out"]) / "meter.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
