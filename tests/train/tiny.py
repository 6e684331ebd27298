"""A model of a few thousand weights, its tokenizer and its data, and ways to train it."""

from __future__ import annotations

import importlib.util
import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tests.assets import write_jsonl
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.events import Event, parse_event
from tutor_agent.core.plan import DataChoice, EvaluationChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.core.resources import bundled

if TYPE_CHECKING:
    import pytest

WORDS = (
    "red",
    "green",
    "blue",
    "small",
    "large",
    "fast",
    "slow",
    "old",
    "new",
    "hot",
    "cold",
    "dry",
    "wet",
    "far",
)
CHATML = (
    "{% for m in messages %}<|im_start|> {{ m['role'] }} : {{ m['content'] }} <|im_end|> {% endfor %}"
    "{% if add_generation_prompt %}<|im_start|> assistant :{% endif %}"
)
BASE = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
}
LATENT = {
    "num_key_value_heads": 4,
    "kv_lora_rank": 8,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "n_shared_experts": 1,
    "num_experts_per_tok": 2,
    "first_k_dense_replace": 1,
    "n_group": 2,
    "topk_group": 1,
    "routed_scaling_factor": 1.0,
    "norm_topk_prob": True,
}
KINDS: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "deepseek_v2": {**LATENT, "q_lora_rank": 16, "topk_method": "group_limited_greedy"},
    "deepseek_v3": {**LATENT, "q_lora_rank": 16},
}


def tokenizer(template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """Return a word tokenizer whose padding is its end of sequence, as in many chat models."""
    special = ["<unk>", "<|im_start|>", "<|im_end|>"]
    listed = [*special, ":", "system", "user", "assistant", "what", "goes", "with", *WORDS]
    vocabulary = {word: i for i, word in enumerate(listed)}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        unk_token="<unk>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
    )
    made.chat_template = template
    return made


def model(kind: str = "llama", seed: int = 0) -> transformers.PreTrainedModel:
    """Return random weights of a tiny architecture."""
    torch.manual_seed(seed)
    tokens = tokenizer()
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokens),
        bos_token_id=tokens.bos_token_id,
        eos_token_id=tokens.eos_token_id,
        pad_token_id=tokens.pad_token_id,
        **BASE,
        **KINDS[kind],
    )
    return transformers.AutoModelForCausalLM.from_config(config)


def save_model(folder: Path, kind: str = "llama") -> Path:
    """Write a tiny model with its tokenizer."""
    model(kind).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def rows(count: int = 59, seed: int = 0) -> list[dict[str, str]]:
    """Return questions whose answers repeat words of the question, in varying lengths."""
    drawn = random.Random(seed)
    found = []
    for _ in range(count):
        words = drawn.choices(WORDS, k=drawn.randint(1, 9))
        answer = " ".join(words[: drawn.randint(1, len(words))])
        found.append({"question": f"what goes with {' '.join(words)}", "answer": answer})
    return found


def make_run(folder: Path, skill: str = "lora", name: str = "tiny", **changes: Any) -> Path:
    """Write a run folder with a plan of a few steps; `optim__max_steps=3` changes a field."""
    run = folder / f"{name}-1"
    run.mkdir(parents=True)
    data = run.parent / f"{name}.jsonl"
    if not data.exists():
        write_jsonl(rows(), data)
    params: dict[str, Any] = {
        "lora": {"r": 4, "alpha": 8, "targets": "all-linear"},
        "full-fine-tuning": {},
        "layer-freezing": {"train_last": 2},
    }[skill]
    plan = Plan(
        name=name,
        skill=skill,
        params=params,
        task="chat",
        model=ModelChoice(source="tiny"),
        data=DataChoice(train=str(data), max_length=64),
        optim=OptimChoice(
            learning_rate=1e-2, epochs=4, max_steps=6, micro_batch=4, schedule="linear", warmup=2
        ),
        evaluation=EvaluationChoice(every=3, samples=1, early_stopping=None),
    )
    apply(plan, PlanChange.set(**changes)).save(run / "plan.yaml")
    return run


def script(skill: str) -> Path:
    """Return the training script of a skill."""
    return bundled("skills") / skill / "scripts" / "train.py"


def train_here(
    monkeypatch: pytest.MonkeyPatch, run: Path, model_folder: Path, resume: Path | None = None
) -> int:
    """Run a training script in this process and return its exit code."""
    skill = Plan.load(run / "plan.yaml").skill
    arguments = ["train.py", "--run", str(run), "--model", str(model_folder)]
    monkeypatch.setattr(sys, "argv", arguments + (["--resume", str(resume)] if resume else []))
    spec = importlib.util.spec_from_file_location(f"train_{skill}".replace("-", "_"), script(skill))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return int(module.main())


def start_ranks(
    run: Path,
    model_folder: Path,
    ranks: int,
    *,
    through: str | None = None,
    resume: Path | None = None,
) -> subprocess.Popen[bytes]:
    """Start a training script on several processes of this machine, if wanted `through` another."""
    skill = Plan.load(run / "plan.yaml").skill
    command = [*([through] if through else []), str(script(skill))]
    command += ["--run", str(run), "--model", str(model_folder)]
    command += ["--resume", str(resume)] if resume else []
    return _launch(command, run, ranks)


def train_several(
    jobs: list[dict[str, str]], model_folder: Path, *, through: str | None = None
) -> None:
    """Train the runs of `jobs` (see `several`) one after another on two processes, and wait for them."""
    from tests.train import several

    command = [*([through] if through else []), several.__file__]
    command += [str(model_folder), json.dumps(jobs)]
    process = _launch(command, Path(jobs[0]["run"]), 2)
    try:
        process.wait(timeout=60 + 30 * len(jobs))
    finally:
        process.terminate()
        process.wait(timeout=60)


def _launch(command: list[str], run: Path, ranks: int) -> subprocess.Popen[bytes]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    root = Path(__file__).resolve().parents[2]
    environment = {
        **os.environ,
        "TUTOR_RUN": str(run),
        "TUTOR_ATTEMPT": "0",
        "OMP_NUM_THREADS": "1",
        "PYTHONSAFEPATH": "1",
        "PYTHONPATH": str(root),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",
    }
    return subprocess.Popen(
        [*launcher, "--nproc-per-node", str(ranks), "--", *command],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def events(run: Path, kind: str | None = None) -> list[Event]:
    """Return the events of a run, all or of one kind."""
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    found = [event for event in map(parse_event, lines) if event is not None]
    return [event for event in found if kind in {None, event.kind}]


def losses(run: Path) -> list[float]:
    """Return the losses of all steps in order."""
    return [event.number("loss") or 0.0 for event in events(run, "step")]


def ending(run: Path) -> dict[str, Any]:
    """Return the payload of `run_ended`."""
    (last,) = events(run, "run_ended")[-1:]
    return dict(last.payload)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    """Return the tensors of the safetensors file in a folder."""
    from safetensors.torch import load_file

    (path,) = folder.glob("*.safetensors")
    return load_file(path)


def state(checkpoint: Path) -> dict[str, Any]:
    """Return the trainer state of a checkpoint."""
    return dict(json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8")))


def same_state(one: Path, two: Path) -> bool:
    """Return whether two checkpoints hold the same bits: weights, optimizer, schedule and random states."""
    names = {path.name for path in one.iterdir() if path.suffix in {".pt", ".pth", ".bin"}}
    names -= {"training_args.bin"}
    assert names >= {"scheduler.pt"}
    return _same(weights(one), weights(two)) and all(
        _same(
            torch.load(one / name, weights_only=False), torch.load(two / name, weights_only=False)
        )
        for name in names
    )


def _same(one: Any, two: Any) -> bool:
    if isinstance(one, torch.Tensor | np.ndarray):
        return bool((torch.as_tensor(one) == torch.as_tensor(two)).all())
    if isinstance(one, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(two) and all(map(_same, one, two))
    return bool(one == two)
