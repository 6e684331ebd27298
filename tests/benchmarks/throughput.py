"""Real tokens per second of the training step, beside every tool that a person might take instead.

python tests/benchmarks/throughput.py [--rounds 3] [--only WORD …] [--work FOLDER]

One command: it makes the environments of TRL and LLaMA-Factory when they are missing (in the cache folder), trains
SmolLM2-135M in fp32 on two threads with each tool in turn, round after round with another seed, prints a table and
writes results/throughput.json. Every tool gets the same rows, every token trained, the same adapters and optimizer. A tool
with several settings keeps the fastest of the first round. Done parts are kept in the work folder: started again,
it goes on. It asserts nothing; a target that is missed is marked.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import assets
from tests.benchmarks.environments import ENVIRONMENTS, LLAMA_FACTORY, TRL, environment_of
from tutor_agent.core.resources import cache_dir

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "throughput.json"
LENGTH, BATCH, STEPS, WARM_UP, RANK, THREADS = 512, 4, 5, 1, 8, 2
ROWS, HELD_OUT = 64, 12
RATE = 1e-3
SECONDS = 600


@dataclass(frozen=True)
class Contender:
    """One tool in one setting."""

    tool: str
    setting: str
    home: str = ""
    """Its environment; empty for ours."""
    script: str = "throughput_peers.py"
    kind: str = ""
    """First word of the command line of `script`."""

    @property
    def name(self) -> str:
        """Return what the table calls it."""
        return f"{self.tool}, {self.setting}"


OURS = "tutor"
CONTENDERS = (
    Contender(OURS, "random batches", script="throughput_ours.py", kind="run"),
    Contender(OURS, "packing", script="throughput_ours.py", kind="run"),
    Contender("bare loop", "joined rows", script="throughput_ours.py", kind="bare"),
    Contender("bare loop", "dynamic padding", script="throughput_ours.py", kind="bare"),
    Contender("transformers", "joined rows"),
    Contender("trl", "packing", home=TRL),
    Contender("trl", "padding free", home=TRL),
    Contender("trl", "default padding", home=TRL),
    Contender("llama-factory", "packing", home=LLAMA_FACTORY),
    Contender("llama-factory", "dynamic padding", home=LLAMA_FACTORY),
    Contender("transformers", "padded to the longest allowed"),
)
GUIDE = "transformers, padded to the longest allowed"
TARGETS = {"bare loop": 0.97, "trl": 1.4, "llama-factory": 1.0, GUIDE: 2.3}
"""How many times as fast ours has to be."""


@dataclass
class Figures:
    """What one contender came to over all rounds."""

    speeds: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """Return the median of real tokens per second."""
        return statistics.median(self.speeds)


def write_rows(work: Path) -> dict[str, str]:
    """Write the rows that everybody trains on and those that nobody does; return their paths."""
    texts = [
        f"{row['passage']}\nQuestion: {row['question']}?\nAnswer: {row['answer']}"
        for row in assets.boolq_rows()
    ]
    drawn = random.Random(0).sample(list(dict.fromkeys(texts)), ROWS + HELD_OUT)
    drawn = cut(drawn)
    parts = {"rows": drawn[:ROWS], "held_out": drawn[ROWS:]}
    found: dict[str, str] = {}
    for name, part in parts.items():
        path = assets.write_jsonl([{"text": text} for text in part], work / f"{name}.jsonl")
        found[name] = str(path)
    return found


def cut(texts: list[str]) -> list[str]:
    """Cut texts to the longest allowed, so that nobody has to."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(assets.smollm2())
    return [tokenizer.decode(tokenizer(text)["input_ids"][:LENGTH]) for text in texts]


def measure(
    contender: Contender, seed: int, work: Path, *, kind: str = "", memory: bool = False
) -> dict[str, Any]:
    """Train once, in a process of its own; what is done already is read."""
    kind = kind or contender.kind
    slug = f"{contender.name} {kind} {seed}{' memory' if memory else ''}"
    out = work / "".join(c if c.isalnum() else "-" for c in slug)
    done = out / "meter.json"
    if done.is_file():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    out.mkdir(parents=True, exist_ok=True)
    rows = {name: str(work / f"{name}.jsonl") for name in ("rows", "held_out")}
    spec = {
        **rows,
        "tool": contender.tool,
        "setting": contender.setting,
        "model": str(assets.smollm2()),
        "out": str(out),
        "batch": BATCH,
        "length": LENGTH,
        "steps": 2 if memory else STEPS,
        "seed": seed,
        "rate": RATE,
        "rank": RANK,
        "threads": THREADS,
        "memory": memory,
    }
    path = out / "spec.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    command = [str(environment_of(contender.home)), str(HERE / contender.script)]
    command += [word for word in (kind, str(path)) if word]
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(THREADS),
        "OMP_WAIT_POLICY": "PASSIVE",
        "TOKENIZERS_PARALLELISM": "false",
    }
    with (out / "log").open("w", encoding="utf-8") as log:
        subprocess.run(
            command, env=environment, stdout=log, stderr=log, check=False, timeout=SECONDS
        )
    if not done.is_file():
        end = (out / "log").read_text(encoding="utf-8", errors="replace")[-1500:]
        raise RuntimeError(f"{contender.name} did not complete:\n{end}")
    return dict(json.loads(done.read_text(encoding="utf-8")))


def speed_of(found: dict[str, Any]) -> float:
    """Return real tokens per second after the warm-up."""
    steps = found["steps"]
    seconds = steps[-1]["t"] - steps[WARM_UP - 1]["t"]
    return sum(step["tokens"] for step in steps[WARM_UP:]) / seconds


def race(rounds: int, only: list[str], work: Path) -> dict[str, Figures]:
    """Let every contender train in every round, the slower settings of a tool in the first round alone."""
    chosen = [c for c in CONTENDERS if not only or any(word in c.name for word in only)]
    figures = {contender.name: Figures() for contender in chosen}
    for number in range(rounds):
        for contender in chosen:
            if number and not stays(contender, chosen, figures):
                continue
            began = time.perf_counter()
            found = measure(contender, number + 1, work)
            own = figures[contender.name]
            own.speeds.append(speed_of(found))
            own.losses.append(found["held_out_loss"])
            seconds = time.perf_counter() - began
            print(
                f"round {number + 1}  {contender.name:45} {own.speeds[-1]:7.1f} tok/s  ({seconds:.0f} s)",
                flush=True,
            )
    return figures


def stays(contender: Contender, chosen: list[Contender], figures: dict[str, Figures]) -> bool:
    """Return whether this setting was the best of its tool; ours all stay, and the guide's is its own tool."""
    if contender.tool == OURS or contender.name == GUIDE:
        return True
    rivals = [c.name for c in chosen if c.tool == contender.tool and c.name != GUIDE]
    return contender.name == max(rivals, key=lambda name: figures[name].speeds[0])


def best_of(tool: str, figures: dict[str, Figures]) -> float | None:
    """Return the speed of the best setting of a tool."""
    found = [f.speed for name, f in figures.items() if f.speeds and belongs(name, tool)]
    return max(found, default=None)


def belongs(name: str, tool: str) -> bool:
    """Return whether a contender is this tool; the guide's recipe is a tool of its own."""
    return name == tool if tool == GUIDE or name == GUIDE else name.startswith(tool)


def look_inside(work: Path) -> dict[str, Any]:
    """Return the memory of one step, ours against TRL's, and what watching costs."""
    ours, theirs = CONTENDERS[0], next(c for c in CONTENDERS if c.tool == "trl")
    own = measure(ours, 1, work, kind="inside")
    same_rows = Contender("trl", "padding free", home=theirs.home)
    padded = Contender("trl", "default padding", home=theirs.home)
    peaks = {
        "tutor": own["peak_bytes"],
        **{c.name: measure(c, 1, work, memory=True)["peak_bytes"] for c in (same_rows, padded)},
    }
    return {
        "peak_mib_of_one_step": {name: round(size / 2**20, 1) for name, size in peaks.items()},
        "watching_share_of_a_step": own["watching_share"],
        "watching_ms_a_step": own["watching_ms_a_step"],
        "audit_seconds_a_run": own["audit_seconds_a_run"],
    }


def summary(figures: dict[str, Figures], inside: dict[str, Any]) -> dict[str, Any]:
    """Return everything that is written down."""
    ours = best_of(OURS, figures) or 0.0
    tools = ("bare loop", "transformers", "trl", "llama-factory", GUIDE)
    ratios = {tool: ours / best for tool in tools if (best := best_of(tool, figures))}
    return {
        "what": f"LoRA r {RANK} all-linear, SmolLM2-135M, fp32, {THREADS} threads, BoolQ rows capped at {LENGTH}, "
        f"batch {BATCH}, every token trained; median of rounds, {STEPS - WARM_UP} timed steps each",
        "processor": processor(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft")},
        "tokens_per_second": {
            name: {"median": round(f.speed, 1), "rounds": [round(s, 1) for s in f.speeds]}
            for name, f in figures.items()
            if f.speeds
        },
        "ours_over": {tool: round(ratio, 3) for tool, ratio in ratios.items()},
        "targets": TARGETS,
        "met": {t: ratios[t] >= wanted for t, wanted in TARGETS.items() if t in ratios},
        "held_out_loss": {
            name: [round(loss, 4) for loss in f.losses] for name, f in figures.items() if f.losses
        },
        **inside,
    }


def processor() -> str:
    """Return the name of the processor."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return f"{next(named, platform.processor())}, {os.cpu_count()} cores"


def print_table(found: dict[str, Any]) -> None:
    """Print the figures."""
    print(f"\n{found['what']}\n{found['processor']}\n")
    for name, speed in found["tokens_per_second"].items():
        losses = ", ".join(f"{loss:.4f}" for loss in found["held_out_loss"][name])
        print(f"{name:45} {speed['median']:7.1f} tok/s   held-out loss {losses}")
    print()
    for tool, ratio in found["ours_over"].items():
        wanted = found["targets"].get(tool)
        mark = (
            "" if wanted is None else f"target {wanted}: {'met' if ratio >= wanted else 'MISSED'}"
        )
        print(f"ours / {tool:45} {ratio:6.2f}   {mark}")
    if "peak_mib_of_one_step" in found:
        print()
        for name, size in found["peak_mib_of_one_step"].items():
            print(f"peak live memory of one step, {name:25} {size:8.1f} MiB")
        share = 100 * found["watching_share_of_a_step"]
        print(f"guard, events and callbacks: {share:.2f} % of a step (target 1 %)")


def main() -> int:
    """Run everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="repeats, each with its own seed")
    parser.add_argument("--only", nargs="*", default=[], help="words of the contenders to run")
    parser.add_argument("--work", type=Path, help="folder that keeps what is done")
    options = parser.parse_args()
    work = (options.work or cache_dir() / "benchmarks" / "throughput").absolute()
    work.mkdir(parents=True, exist_ok=True)
    for home in ENVIRONMENTS:
        environment_of(home)
    write_rows(work)
    figures = race(options.rounds, options.only, work)
    found = summary(figures, {} if options.only else look_inside(work))
    print_table(found)
    if not options.only:
        RESULTS.parent.mkdir(exist_ok=True)
        text = json.dumps(found, indent=2, ensure_ascii=False)
        RESULTS.write_text(text + "\n", encoding="utf-8")
    return 0 if all(found["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
