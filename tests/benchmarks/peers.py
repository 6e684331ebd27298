"""Watch real runs of other tools: TRL and LLaMA-Factory, each with broken numbers, with overfitting, and healthy.

python tests/benchmarks/peers.py [--work FOLDER] [--only WORD …]

One command: it makes the environments of both tools when they are missing (in the cache folder), trains SmolLM2-135M
six times on a CPU, and lets `tutor watch` look at what they write, at the console's log and at the output folder:
live, in processes of their own beside the training, and afterwards. It prints a table of what was said against what
is true and writes results/peers.json. Done runs are kept in the work folder: started again, it goes on. It asserts
nothing; what is wrong is marked.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import assets
from tests.benchmarks.environments import LLAMA_FACTORY, TRL, environment_of
from tutor_agent.core.resources import cache_dir

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "peers.json"
HOMES = {"trl": TRL, "llama-factory": LLAMA_FACTORY}
BATCH, LENGTH, THREADS, SEED = 4, 48, 1, 1
MANY, FEW, HELD_OUT = 36, 8, 8
SECONDS, SECONDS_TO_END = 1200, 60
NAMED = re.compile(r"^✖ .* \[(\w+), \d+%\]", re.MULTILINE)
FIGURES = re.compile(r"^ {2,}(\d+) {2}\S.*$", re.MULTILINE)


@dataclass(frozen=True)
class Fate:
    """How a run is made to go."""

    name: str
    rows: int
    epochs: int
    rate: float
    clip: float
    truth: str
    """The cause that is right, or `healthy`."""


FATES = (
    Fate("nan", MANY, 2, 1e30, 1.0, "lr_too_high"),
    Fate("overfit", FEW, 9, 2e-3, 1.0, "overfitting"),
    Fate("healthy", MANY, 2, 2e-4, 1.0, "healthy"),
)


def write_rows(work: Path) -> dict[str, Path]:
    """Write the rows that are trained on, many or few, and those that are held out."""
    texts = list(dict.fromkeys(f"{r['question']}?\n{r['passage']}" for r in assets.boolq_rows()))
    parts = {"many": texts[:MANY], "few": texts[:FEW], "held_out": texts[MANY : MANY + HELD_OUT]}
    return {
        name: assets.write_jsonl([{"text": text} for text in part], work / f"{name}.jsonl")
        for name, part in parts.items()
    }


def train_and_watch(tool: str, fate: Fate, work: Path, rows: dict[str, Path]) -> dict[str, Any]:
    """Train once while two `tutor watch` look on, then look again; return what all four said."""
    name = f"{tool}-{fate.name}"
    out, log, done = work / name, work / f"{name}.log", work / f"{name}.said.json"
    if done.is_file():
        return dict(json.loads(done.read_text(encoding="utf-8")))
    shutil.rmtree(out, ignore_errors=True)
    log.unlink(missing_ok=True)
    spec = {
        "tool": tool,
        "model": str(assets.smollm2()),
        "rows": str(rows["many" if fate.rows == MANY else "few"]),
        "held_out": str(rows["held_out"]),
        "out": str(out),
        "batch": BATCH,
        "length": LENGTH,
        "epochs": fate.epochs,
        "rate": fate.rate,
        "clip": fate.clip,
        "seed": SEED,
        "threads": THREADS,
    }
    path = work / f"{name}.json"
    path.write_text(json.dumps(spec), encoding="utf-8")
    began = time.perf_counter()
    with ExitStack() as stack:
        watchers = {
            "log live": start(["watch", str(log)], stack, work / f"{name}.watch-log"),
            "folder live": start(["watch", str(out)], stack, work / f"{name}.watch-folder"),
        }
        train(HOMES[tool], path, log)
        seconds = time.perf_counter() - began
        said = {view: heard(end(process), file) for view, (process, file) in watchers.items()}
    said |= {"log after": once(log), "folder after": once(out)}
    for view in said.values():
        view["right"] = view["verdict"] == fate.truth
    found = {"truth": fate.truth, "began_at_step": onset(out), "seconds": round(seconds), **said}
    done.write_text(json.dumps(found), encoding="utf-8")
    return found


def train(home: str, spec: Path, log: Path) -> None:
    """Train in the tool's environment, its console going to `log`."""
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(THREADS),
        "TOKENIZERS_PARALLELISM": "false",
    }
    command = [str(environment_of(home)), str(HERE / "peers_train.py"), str(spec)]
    with log.open("w", encoding="utf-8") as console:
        done = subprocess.run(
            command, env=environment, stdout=console, stderr=console, check=False, timeout=SECONDS
        )
    if done.returncode:
        ending = log.read_text(encoding="utf-8", errors="replace")[-1500:]
        raise RuntimeError(f"{spec.stem} did not complete:\n{ending}")


def command_of(arguments: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the command line of `tutor` and its environment, in English."""
    environment = {**os.environ, "PYTHONPATH": str(HERE.parents[1]), "TUTOR_LANG": "en"}
    return [sys.executable, "-m", "tutor_agent", *arguments], environment


def start(
    arguments: list[str], stack: ExitStack, file: Path
) -> tuple[subprocess.Popen[bytes], Path]:
    """Start a `tutor watch` that writes into `file`."""
    stream: IO[bytes] = stack.enter_context(file.open("wb"))
    command, environment = command_of(arguments)
    return subprocess.Popen(command, env=environment, stdout=stream, stderr=stream), file


def end(process: subprocess.Popen[bytes]) -> int | None:
    """Wait for a watcher to see the end by itself; None when it has to be stopped."""
    try:
        return process.wait(timeout=SECONDS_TO_END)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait()
        return None


def heard(code: int | None, file: Path) -> dict[str, Any]:
    """Return what a live watcher said at the end, and what it told first, at which step."""
    text = file.read_text(encoding="utf-8", errors="replace")
    places = [match.end() for match in FIGURES.finditer(text)]
    last = text[places[-1] :] if places else text
    told = NAMED.search(text)
    before = [int(m[1]) for m in FIGURES.finditer(text, 0, told.start())] if told else []
    live = NAMED.findall(text[: places[-1]]) if places else []
    return {
        "verdict": verdict_of(last),
        "exit": code,
        "told_first": live[0] if live else None,
        "told_at_step": before[-1] if live and before else None,
    }


def verdict_of(text: str) -> str:
    """Return the first cause that is named, or what is said in its place."""
    named = NAMED.search(text)
    if named:
        return named[1]
    return "healthy" if "Nothing is wrong" in text else "unknown"


def once(path: Path) -> dict[str, Any]:
    """Look at what is there after the training."""
    command, environment = command_of(["watch", "--once", "--json", str(path)])
    began = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    found = json.loads(done.stdout)
    causes = [cause["cause"] for cause in found["causes"]]
    return {
        "verdict": causes[0] if causes else found["verdict"],
        "exit": done.returncode,
        "also": causes[1:],
        "seconds": round(time.perf_counter() - began, 2),
    }


def onset(out: Path) -> int | None:
    """Return the step at which numbers broke, or after which the held-out loss only rose."""
    history = json.loads((out / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    for entry in history:
        if not math.isfinite(float(entry.get("grad_norm", 0))):
            return int(entry["step"])
    evaluations = [(e["eval_loss"], e["step"]) for e in history if "eval_loss" in e]
    best = min(evaluations)[1]
    return int(best) if best != evaluations[-1][1] else None


def print_table(runs: dict[str, Any]) -> None:
    """Print every run with what was said of it."""
    views = ("log live", "folder live", "log after", "folder after")
    for name, run in runs.items():
        began = f", from step {run['began_at_step']}" if run["began_at_step"] is not None else ""
        print(f"{name:24} {run['truth']}{began} ({run['seconds']} s)")
        for view in views:
            said = run[view]
            mark = "right" if said["right"] else "WRONG"
            told = f", told at step {said['told_at_step']}" if said.get("told_at_step") else ""
            first = said.get("told_first")
            other = f", first said {first}" if first and first != said["verdict"] else ""
            print(
                f"    {view:14} {mark}  {said['verdict']}{told}{other}, exit {said['exit']}",
                flush=True,
            )


def main() -> int:
    """Run everything and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for what the tools write")
    parser.add_argument("--only", nargs="*", default=[], help="words of the runs to do")
    options = parser.parse_args()
    work = (options.work or cache_dir() / "benchmarks" / "peers").absolute()
    work.mkdir(parents=True, exist_ok=True)
    for home in HOMES.values():
        environment_of(home)
    rows = write_rows(work)
    wanted = [(tool, fate) for tool in HOMES for fate in FATES]
    runs: dict[str, Any] = {}
    for tool, fate in wanted:
        name = f"{tool} {fate.name}"
        if not options.only or any(word in name for word in options.only):
            runs[name] = train_and_watch(tool, fate, work, rows)
            print_table({name: runs[name]})
    views = [said for run in runs.values() for said in run.values() if isinstance(said, dict)]
    right = sum(said["right"] for said in views)
    print(f"{right} of {len(views)} verdicts right")
    if not options.only:
        found = {"tools": list(HOMES.values()), "right": right, "of": len(views), "runs": runs}
        RESULTS.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0 if right == len(views) else 1


if __name__ == "__main__":
    sys.exit(main())
