"""A model large enough to load a GPU, its data, and training it in a process of its own.

A random Llama of 168 M weights with a real vocabulary's width; samples of 30 to 1000 tokens. Nothing is
downloaded.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.assets import write_jsonl
from tests.train import tiny
from tutor_agent.core.plan import Plan
from tutor_agent.estimate.forecast import forecast
from tutor_agent.probe.data import inspect_data
from tutor_agent.probe.machine import inspect_machine
from tutor_agent.probe.model import read_folder
from tutor_agent.skillkit.registry import find_skills

GIB = 2**30
WARM = 4
"""Steps before the clock counts: kernels are chosen, memory is taken, graphs are compiled."""
SIZE: dict[str, Any] = {
    "hidden_size": 1024,
    "intermediate_size": 2816,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "vocab_size": 32000,
    "tie_word_embeddings": True,
}
PACKAGES = {
    "flash": "flash_attn",
    "liger": "liger_kernel",
    "nf4": "bitsandbytes",
    "int8": "bitsandbytes",
    "adamw_8bit": "bitsandbytes",
    "paged_adamw_8bit": "bitsandbytes",
}
"""What a configuration of `CONFIGURATIONS` needs beside torch."""
_ROWS: dict[str, Any] = {
    "data__max_length": 1024,
    "optim__micro_batch": 8,
    "optim__epochs": 50,
    "optim__learning_rate": 2e-4,
    "evaluation__samples": 0,
    "evaluation__generated_rows": 0,
    "evaluation__keep": "last",
    "data__packing": True,
}
_LORA: dict[str, Any] = {"r": 16, "alpha": 32, "targets": "all-linear"}
CONFIGURATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "lora": ("lora", {}),
    "lora-padded": ("lora", {"data__packing": False}),
    "lora-by-length": ("lora", {"data__packing": False, "data__batching": "by_length"}),
    "lora-fp32": ("lora", {"model__dtype": "fp32"}),
    "lora-checkpointing": ("lora", {"launch__checkpointing": True}),
    "full": ("full-fine-tuning", {}),
    "full-checkpointing": ("full-fine-tuning", {"launch__checkpointing": True}),
    "freezing": ("layer-freezing", {}),
    "flash": ("lora", {"model__attention": "flash"}),
    "flex": ("lora", {"model__attention": "flex"}),
    "eager": ("lora", {"model__attention": "eager"}),
    "liger": ("lora", {"model__liger": True}),
    "compile": ("lora", {"model__compile": True}),
    "nf4": ("lora", {"params": {**_LORA, "quantization": "nf4"}}),
    "int8": ("lora", {"params": {**_LORA, "quantization": "int8"}}),
    "adamw_8bit": ("full-fine-tuning", {"optim__optimizer": "adamw_8bit"}),
    "paged_adamw_8bit": ("full-fine-tuning", {"optim__optimizer": "paged_adamw_8bit"}),
    "adafactor": ("full-fine-tuning", {"optim__optimizer": "adafactor"}),
}
"""What is measured: a skill and the changes to its plan."""


def lacking(name: str) -> str:
    """Return the package that a configuration lacks here, '' when it lacks none."""
    package = PACKAGES.get(name, "")
    return "" if not package or find_spec(package) else package


def save_model(folder: Path, **changes: Any) -> Path:
    """Write random weights in bf16 with the tiny tokenizer."""
    torch.manual_seed(0)
    tokens: Any = tiny.tokenizer()
    config = transformers.LlamaConfig(
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        **{**SIZE, **changes},
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokens.save_pretrained(folder)
    return folder


def save_rows(path: Path, count: int = 600) -> Path:
    """Write questions with answers of very different lengths."""
    drawn = random.Random(0)
    rows = []
    for _ in range(count):
        answer = drawn.choices(tiny.WORDS, k=int(min(990, 20 + drawn.expovariate(1 / 220))))
        rows.append({"question": "what goes with red", "answer": " ".join(answer)})
    return write_jsonl(rows, path)


def make_run(folder: Path, name: str, steps: int) -> Path:
    """Write the run folder of a configuration."""
    skill, changes = CONFIGURATIONS[name]
    run_name = name.replace("_", "-")
    folder.mkdir(parents=True, exist_ok=True)
    save_rows(folder / f"{run_name}.jsonl")
    settings = {**_ROWS, "optim__max_steps": steps, "evaluation__every": steps, **changes}
    return tiny.make_run(folder, skill, run_name, **settings)


def measure(folder: Path, model: Path, name: str, steps: int) -> dict[str, Any]:
    """Train a configuration in a process of its own; return its figures and the forecast's.

    `tokens_per_second` counts real tokens, as a median over the steps after the warm-up.
    """
    run = make_run(folder, name, steps)
    command = [sys.executable, "-m", "tests.gpu.midsize", str(run), str(model)]
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr or done.stdout)[-1500:]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found["loss"] = [round(loss, 4) for loss in tiny.losses(run)]
    told = tiny.events(run, "step")
    speeds = [event.number("tokens_per_second") or 0.0 for event in told[WARM:] or told]
    found["tokens_per_second"] = round(statistics.median(speeds), 1)
    return {**found, "forecast": foreseen(run, model)}


def foreseen(run: Path, model: Path) -> dict[str, Any]:
    """Return what the tutor says beforehand about the memory and the speed of a run."""
    plan = Plan.load(run / "plan.yaml")
    skill = find_skills().get(plan.skill)
    facts = read_folder(model)
    said = forecast(
        plan,
        facts,
        inspect_machine(run.parent),
        skill.footprint(facts, skill.params.parse(plan.params, "params")),
        inspect_data(Path(plan.data.train)),
    )
    peak = said.peak_gib
    return {
        "low_gib": peak.low,
        "expected_gib": peak.expected,
        "high_gib": peak.high,
        "context_gib": said.parts["context"],
        "parts": said.parts,
        "fits": said.fits,
        "tokens_per_second": said.tokens_per_second,
    }


def _train_one(run: Path, model: Path) -> int:
    """Train here and print what the allocator saw as one JSON line."""
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    with pytest.MonkeyPatch.context() as patch:
        code = tiny.train_here(patch, run, model)
    end = tiny.ending(run)
    if code or end["state"] != "completed":
        sys.stderr.write(f"{end['state']}: {end['text_en']}\n")
        return 1
    peaks: dict[str, Any] = {"allocated_gib": None, "reserved_gib": None}
    if cuda:
        peaks["allocated_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 3)
        peaks["reserved_gib"] = round(torch.cuda.max_memory_reserved() / GIB, 3)
    print(json.dumps(peaks))
    return 0


if __name__ == "__main__":
    sys.exit(_train_one(Path(sys.argv[1]), Path(sys.argv[2])))
