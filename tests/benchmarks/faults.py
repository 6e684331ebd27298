"""Break real short runs in known ways, leave others alone, and see what the doctor says and repairs.

python tests/benchmarks/faults.py [--work FOLDER] [--only WORD …] [--jobs 2]

A small real model (made once, cached) is trained the product's own way: `make_plan`, `start_run`, the
supervisor and its watch, `diagnose_run`, `propose_fix`, `apply_fix`. Right causes are declared in
`fault_cases` beforehand. With `--work` finished cases are kept, and a cut run goes on. Prints a table and
writes results/faults.json and results/faults.md.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.fault_cases import CASES
from tests.benchmarks.fault_model import small_model
from tests.benchmarks.fault_run import Outcome, run_case

if TYPE_CHECKING:
    from collections.abc import Sequence

RESULTS = Path(__file__).with_name("results")
COMMAND = "python tests/benchmarks/faults.py --work FOLDER"
_CLEAN = ("completed",)
_ABOUT = """\
A Llama of half a million weights trained on real text, fine-tuned on real rows, on two CPU cores. The delay counts logged
points from the first bad one to the word about it; `before` was told ahead of the first step. A repair is a plan change that
the tutor proposed and applied, or what it tells a person to do with code, rows or model. Right causes stand in
`fault_cases.py`; where the given vocabulary has none (damaged weights, slow data loading), the product's own is declared, and
where the product names none, its words are. A fault of code or machine does not come back in the repaired run, but for the
outlier without clipping; fp16 needs a GPU, so its overflow here is that of one layer computed in fp16."""


def summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Return the figures over all cases."""
    faults = [one for one in outcomes if not one.healthy]
    sound = [one for one in outcomes if one.healthy]
    found = [one for one in faults if one.detected]
    abrupt = [one.delay for one in found if one.abrupt and one.delay is not None]
    return {
        "faults": len(faults),
        "detected": sum(one.detected for one in faults),
        "median delay of the abrupt, in logged points": statistics.median(abrupt)
        if abrupt
        else None,
        "cause right": sum(one.right for one in faults),
        "cause right by its slug": sum(one.named in one.declared for one in faults),
        "repair healthy": sum(one.repaired for one in faults),
        "repaired by a plan change": sum(
            o.repaired and o.repair.startswith("plan") for o in faults
        ),
        "healthy": len(sound),
        "false stops": sum(one.state not in _CLEAN for one in sound),
        "healthy runs with a false warning": sum(bool(one.warnings) for one in sound),
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the table of all cases in Markdown."""
    lines = [
        "| fault | detected | delay | named | right | repair | ends | healthy |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for one in outcomes:
        if not one.healthy:
            how = one.how if one.detected else "**no**"
            delay = "before" if one.before and one.detected else one.delay if one.detected else "-"
            end = one.repair_state.replace("|", "/")[:60]
            lines.append(
                f"| {one.name} | {how} | {delay} | {one.named} | {_mark(one.right)} | {one.repair} | {end} | "
                f"{_mark(one.repaired)} |"
            )
    lines += ["", "| sound run | state | warnings | verdict |", "|---|---|---|---|"]
    for one in outcomes:
        if one.healthy:
            told = "; ".join(one.warnings) or "none"
            lines.append(f"| {one.name} | {one.state} | {told} | {one.named} |")
    return "\n".join(lines)


def _mark(value: bool) -> str:
    return "yes" if value else "**no**"


def report(outcomes: Sequence[Outcome]) -> str:
    """Return the page with figures and table."""
    figures = "\n".join(f"- {name}: {value}" for name, value in summary(outcomes).items())
    return f"# Fault benchmark\n\n`{COMMAND}`\n\n{_ABOUT}\n\n{figures}\n\n{table(outcomes)}\n"


def main() -> int:
    """Run the cases."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, help="folder for the runs, which then stay")
    parser.add_argument("--only", nargs="*", default=[], help="words of the cases to run")
    parser.add_argument("--jobs", type=int, default=2, choices=(1, 2), help="cases at a time")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    small_model()
    wanted = [c for c in CASES if not options.only or any(w in c.name for w in options.only)]
    with tempfile.TemporaryDirectory() as scratch:
        work = (options.work or Path(scratch)).resolve()
        work.mkdir(parents=True, exist_ok=True)
        found: dict[str, Outcome] = {}
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(options.jobs, mp_context=spawn) as pool:
            waiting = [pool.submit(run_case, case.name, work) for case in wanted]
            for done in as_completed(waiting):
                one = done.result()
                found[one.name] = one
                print(_line(one), flush=True)
    outcomes = [found[case.name] for case in wanted]
    print(f"\n{table(outcomes)}\n\n{json.dumps(summary(outcomes), indent=1)}")
    if not options.only:
        RESULTS.mkdir(exist_ok=True)
        data = {"summary": summary(outcomes), "cases": [asdict(one) for one in outcomes]}
        text = json.dumps(data, ensure_ascii=False, indent=1).replace(str(work), "FOLDER")
        (RESULTS / "faults.json").write_text(text + "\n", encoding="utf-8")
        (RESULTS / "faults.md").write_text(report(outcomes), encoding="utf-8")
    return 0


def _line(one: Outcome) -> str:
    if one.healthy:
        return f"sound  {one.name}: {one.state} {'; '.join(one.warnings)} ({one.seconds:.0f} s)"
    marks = f"{'found' if one.detected else 'MISSED'} {one.named} {'right' if one.right else 'WRONG'} after {one.delay}"
    return f"fault  {one.name}: {one.state}, {marks}; {one.repair} → {one.repair_state} {_mark(one.repaired)} ({one.seconds:.0f} s)"


if __name__ == "__main__":
    sys.exit(main())
