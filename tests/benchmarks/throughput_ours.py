"""Train by the product itself, or by a bare loop over the product's own batches (started by throughput.py).

python throughput_ours.py run|inside|bare SPEC.json

`run` goes through `tutor run`, and reads the events. `inside` runs the same script in this process, to follow the
memory of one step and the time that the watching takes. `bare` is what a person would write.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from tests.benchmarks import throughput_peers as peers
from tutor_agent.core.events import parse_event
from tutor_agent.core.plan import DataChoice, EvaluationChoice, ModelChoice, OptimChoice, Plan
from tutor_agent.core.resources import bundled

if TYPE_CHECKING:
    from collections.abc import Callable

Spec = dict[str, Any]
ROOT = Path(__file__).resolve().parents[2]
FOLLOWED = 2
"""The step whose memory is followed."""
JUDGED_ROWS = 4
"""Rows that the product judges before and after: the benchmark has its own held-out rows."""


def plan_of(spec: Spec) -> Plan:
    """Return the plan of a run: every token trained, at the settings of all the others."""
    packing = spec["setting"] == "packing"
    return Plan(
        name="throughput",
        skill="lora",
        params={"r": spec["rank"], "alpha": 2 * spec["rank"], "targets": "all-linear"},
        task="pretraining",
        model=ModelChoice(source=spec["model"], dtype="fp32"),
        data=DataChoice(
            train=spec["rows"],
            validation=spec["held_out"],
            test=spec["held_out"],
            format="text",
            max_length=spec["length"],
            packing=packing,
            batching="by_length" if spec["setting"] == "by length" else "random",
            supervise="all",
        ),
        optim=OptimChoice(
            learning_rate=spec["rate"],
            schedule="constant",
            warmup=0,
            epochs=100,
            max_steps=spec["steps"],
            micro_batch=1 if packing else spec["batch"],
            seed=spec["seed"],
        ),
        evaluation=EvaluationChoice(
            every=float(spec["steps"]),
            early_stopping=None,
            keep="last",
            samples=0,
            max_rows=JUDGED_ROWS,
            generated_rows=0,
        ),
    )


def run(spec: Spec) -> dict[str, Any]:
    """Train through `tutor run` and read the events of the run."""
    out = Path(spec["out"])
    plan = out / "plan.yaml"
    plan_of(spec).save(plan)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TUTOR_LANG": "en"}
    command = [sys.executable, "-m", "tutor_agent", "run", str(plan), "--yes", "--follow"]
    done = subprocess.run(
        command, cwd=out, env=environment, capture_output=True, text=True, check=False
    )
    found = sorted((out / "runs").glob("*/events.jsonl"))
    steps = steps_of(found[-1]) if found else []
    if len(steps) < spec["steps"]:
        raise RuntimeError(f"The run did not complete:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    result = found[-1].parent / "result"
    return {"steps": steps, "held_out_loss": loss_of_result(spec, result)}


def steps_of(events: Path) -> list[dict[str, float]]:
    """Return end and tokens of every step."""
    lines = events.read_text(encoding="utf-8").splitlines()
    known = [event for event in map(parse_event, lines) if event is not None]
    return [
        {"t": event.t, "tokens": event.number("tokens") or 0.0}
        for event in known
        if event.kind == "step"
    ]


def loss_of_result(spec: Spec, result: Path) -> float:
    """Return the loss of a saved adapter, computed as for everybody else."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(spec["model"], dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    return peers.held_out_loss(spec, PeftModel.from_pretrained(model, str(result)), tokenizer)


def script() -> Any:
    """Return the training script of the product as a module."""
    path = bundled("skills") / "lora" / "scripts" / "train.py"
    made = importlib.util.spec_from_file_location("train_lora", path)
    assert made is not None
    assert made.loader is not None
    module = importlib.util.module_from_spec(made)
    made.loader.exec_module(module)
    return module


def folder_for(spec: Spec) -> Path:
    """Make a run folder for a script that is started by hand."""
    folder = Path(spec["out"]) / f"by-hand-{spec['setting'].replace(' ', '-')}"
    folder.mkdir(parents=True, exist_ok=True)
    plan_of(spec).save(folder / "plan.yaml")
    sys.argv = ["train.py", "--run", str(folder), "--model", spec["model"]]
    return folder


class Watched:
    """Adds up the time spent inside chosen functions; one that calls another counts once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._inside = False

    def over(self, owner: Any, name: str) -> None:
        """Time `owner.name` from now on."""
        plain: Callable[..., Any] = getattr(owner, name)

        @wraps(plain)
        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._inside:
                return plain(*args, **kwargs)
            self._inside, began = True, time.perf_counter()
            try:
                return plain(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - began
                self._inside = False

        setattr(owner, name, timed)


class Marks(peers.TrainerCallback):
    """Begins to count the watching after the step whose memory was followed, which is slow."""

    def __init__(self, watching: Watched) -> None:
        self._watching = watching
        self.began = 0.0

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Begin to count."""
        if state.global_step == FOLLOWED:
            self._watching.seconds, self.began = 0.0, time.perf_counter()


def inside(spec: Spec) -> dict[str, Any]:
    """Run the training script here; measure the peak of step 2, and what watching costs in the steps after it."""
    folder_for(spec)
    module = script()
    meter, watching, audits = peers.Meter(memory=True), Watched(), Watched()
    marks = Marks(watching)
    make = module.make_trainer

    def make_watched(*args: Any) -> Any:
        trainer = make(*args)
        watch_over(trainer, watching)
        trainer.add_callback(meter)
        trainer.add_callback(marks)
        return trainer

    module.make_trainer = make_watched
    for name in ("audit_trainable", "report_audit"):
        audits.over(module, name)
    if module.main():
        raise RuntimeError("The training script failed.")
    return {
        "steps": meter.steps,
        "peak_bytes": meter.peak_bytes,
        "watching_share": watching.seconds / (meter.steps[-1]["t"] - marks.began),
        "watching_ms_a_step": 1000 * watching.seconds / (spec["steps"] - FOLLOWED),
        "audit_seconds_a_run": audits.seconds,
    }


def watch_over(trainer: Any, watching: Watched) -> None:
    """Time the guard, the events and our callbacks."""
    for name in ("saw", "judge", "next_step"):
        watching.over(trainer.watch.guard, name)
    watching.over(trainer.watch.recorder, "write")
    for callback in trainer.callback_handler.callbacks:
        if type(callback).__module__.startswith("tutor_agent"):
            for name in ("on_step_begin", "on_step_end", "on_log"):
                watching.over(callback, name)


def batches_of(spec: Spec) -> list[Any]:
    """Return the batches of the product for this plan, in its order; nothing is trained."""
    folder_for(spec)
    module = script()
    found: list[Any] = []

    def take(run: Any, trainer: Any) -> bool:
        loader = trainer.get_train_dataloader()
        while len(found) < spec["steps"]:
            found.extend(loader)
        return False

    module.judge = lambda *args: None
    module.train = take
    module.main()
    return found[: spec["steps"]]


def bare(spec: Spec) -> dict[str, Any]:
    """Train in a plain loop: stock model, stock adapters, the model's own loss, fused AdamW."""
    from transformers import AutoTokenizer

    batches = batches_of(spec)
    model = peers.adapted(spec)
    model.train()
    learning = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(learning, lr=spec["rate"], weight_decay=0.0, fused=True)
    steps: list[dict[str, float]] = []
    for batch in batches:
        if spec["setting"] == "dynamic padding":
            rows = batch["input_ids"][0].split(batch["lengths"].tolist())
            listed = [row.tolist() for row in rows]
            inputs = peers.padded(listed, max(map(len, listed)))
        else:
            inputs = {key: batch[key] for key in ("input_ids", "position_ids", "labels")}
        loss = model(**inputs, use_cache=False).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()
        steps.append({"t": time.perf_counter(), "tokens": int(batch["tokens"].sum())})
    tokenizer = AutoTokenizer.from_pretrained(spec["model"])
    return {"steps": steps, "held_out_loss": peers.held_out_loss(spec, model, tokenizer)}


def main() -> int:
    """Do one thing and write `meter.json`."""
    kind, path = sys.argv[1:3]
    spec: Spec = json.loads(Path(path).read_text(encoding="utf-8"))
    torch.set_num_threads(spec["threads"])
    found = {"run": run, "inside": inside, "bare": bare}[kind](spec)
    (Path(spec["out"]) / "meter.json").write_text(json.dumps(found), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
