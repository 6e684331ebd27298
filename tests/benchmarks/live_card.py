"""How long after a fault its card stands in the app: python tests/benchmarks/live_card.py [--faults 10].

Real short runs of a tiny model under their real supervisor, with the app following them: a learning rate far
too high, a NaN in a weight, a NaN in a gradient. The clock starts at the time that the training process wrote
into the first event of the trouble, and stops when a card about this run is laid out on the visible page, at
both widths and in both languages. Prints each delay, median and maximum; asserts nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.assets import write_jsonl
from tests.train import poisoned, tiny
from tutor_agent.actions.context import Context
from tutor_agent.core.events import parse_event
from tutor_agent.core.plan import (
    DataChoice,
    EvaluationChoice,
    ModelChoice,
    OptimChoice,
    Plan,
)
from tutor_agent.runs.folder import RunFolder, create_run
from tutor_agent.runs.launch import local
from tutor_agent.skillkit.registry import find_skills
from tutor_agent.tui.app import TutorApp
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard

if TYPE_CHECKING:
    from textual.pilot import Pilot

    from tutor_agent.core.text import Language

FAULTS = ("rate", "weight", "gradient")
FACES: tuple[tuple[tuple[int, int], Language], ...] = (
    ((120, 36), "zh"),
    ((80, 24), "en"),
    ((120, 36), "en"),
    ((80, 24), "zh"),
)
PATIENCE = 120.0
LOOK = 0.01


def start(workspace: Path, model: Path, fault: str) -> RunFolder:
    """Start a run that will meet `fault`."""
    rate = 900.0 if fault == "rate" else 1e-3
    plan = Plan(
        name=f"live-{fault}",
        skill="full-fine-tuning",
        task="chat",
        model=ModelChoice(source=str(model)),
        data=DataChoice(train=str(workspace / "rows.jsonl"), max_length=64),
        optim=OptimChoice(learning_rate=rate, epochs=2, micro_batch=4, warmup=2),
        evaluation=EvaluationChoice(every=20, samples=0, max_rows=4, early_stopping=None),
    )
    skill = find_skills().get(plan.skill)
    job = skill.build(plan, skill.folder)
    if fault != "rate":
        spoilt = {**job.environment, "TUTOR_TEST_POISON": fault}
        arguments = (job.script, *job.arguments)
        changes = {"script": poisoned.__file__, "arguments": arguments, "environment": spoilt}
        job = job.model_copy(update=changes)
    folder = create_run(workspace / "runs", plan, {})
    local.start(folder, job, model_path=model)
    return folder


def trouble_at(folder: RunFolder) -> float:
    """Return when the training process wrote the first event that the finding rests on."""
    finding = folder.load_findings()[0]
    lines = folder.events.read_text(encoding="utf-8").splitlines()
    events = [event for event in map(parse_event, lines) if event is not None]
    halted = [event.t for event in events if event.kind == "halted"]
    shown = [e.t for e in events if e.kind == "step" and e.step == finding.step]
    return min(halted[:1] or shown)


def stands(app: TutorApp) -> bool:
    """Return whether a card is laid out on the page that is seen."""
    return any(card.region.area and card.is_on_screen for card in app.main.query(DiagnosisCard))


async def until(pilot: Pilot[None], app: TutorApp) -> float:
    """Wait for the card and return the time."""
    deadline = time.monotonic() + PATIENCE
    while not stands(app):
        if time.monotonic() > deadline:
            raise SystemExit("no card was shown")
        await pilot.pause(LOOK)
    return time.time()


async def measure(
    workspace: Path, model: Path, fault: str, face: tuple[tuple[int, int], Language]
) -> tuple[float, float, float]:
    """Return the delays from the event to the finding and to the card, and the share of a core used."""
    size, language = face
    app = TutorApp(Context(workspace, language), language=language)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.2)
        folder = start(workspace, model, fault)
        began, cpu = time.monotonic(), time.process_time()
        shown = await until(pilot, app)
        share = (time.process_time() - cpu) / (time.monotonic() - began)
        found = folder.findings.stat().st_mtime
        event = trouble_at(folder)
        deadline = time.monotonic() + PATIENCE
        while folder.status().state in {"starting", "running"} and time.monotonic() < deadline:
            await pilot.pause(0.2)
    return found - event, shown - event, share


def main() -> None:
    """Break `--faults` runs one after another."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--faults", type=int, default=10)
    count = parser.parse_args().faults
    os.environ.update(TUTOR_LLM="none", OMP_NUM_THREADS="1")
    workspace = Path(tempfile.mkdtemp(prefix="live-card-"))
    model = tiny.save_model(workspace / "tiny")
    write_jsonl(tiny.rows(200), workspace / "rows.jsonl")
    delays: list[float] = []
    try:
        for fault, face in itertools.islice(
            zip(itertools.cycle(FAULTS), itertools.cycle(FACES), strict=False), count
        ):
            (columns, rows), language = face
            found, shown, share = asyncio.run(measure(workspace, model, fault, face))
            delays.append(shown)
            print(
                f"{fault:9} {columns}x{rows} {language}  event → finding {found:5.2f} s"
                f"  event → card {shown:5.2f} s  app {share:4.0%} of a core",
                flush=True,
            )
            shutil.rmtree(workspace / "runs")
    finally:
        shutil.rmtree(workspace, ignore_errors=True)
    print(f"median {statistics.median(delays):.2f} s, max {max(delays):.2f} s over {len(delays)}")


if __name__ == "__main__":
    main()
