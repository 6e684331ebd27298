"""Train every task on real data with a small real model, and compare its own metric before and after.

python tests/benchmarks/tasks.py [--only NAME …] [--scale 0.3] [--keep FOLDER]

Goes the product's own way: `make_plan`, then `tutor run`. Prints a table and writes results/tasks.json. It
asserts nothing; a row that is not better than the base model is marked.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests import assets
from tutor_agent.actions.context import Context
from tutor_agent.actions.plan import PlanRequest, make_plan
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.events import Event, parse_event
from tutor_agent.core.facts import Goal
from tutor_agent.core.metric_names import TASK_METRICS, is_better

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tutor_agent.core.plan import Task

RESULTS = Path(__file__).with_name("results") / "tasks.json"
TOPICS = ("trivia", "coding", "psychology", "ai", "emotion")


@dataclass(frozen=True)
class Case:
    """One task on one data set."""

    task: Task
    skill: str
    rows: Callable[[], Sequence[dict[str, Any]]]
    steps: int
    changes: dict[str, Any] = field(default_factory=dict)
    guess: float | None = None
    """What blind guessing scores, where it is not always the same answer."""


@dataclass(frozen=True)
class Outcome:
    """What one case came to."""

    name: str
    task: str
    skill: str
    metric: str
    before: float
    after: float
    better: bool
    answered: int
    steps: int
    seconds: float
    figures: dict[str, tuple[float, float]]
    guess: float | None = None
    """What blind guessing scores: always the most frequent answer, or any of the options."""


def talks() -> list[dict[str, Any]]:
    """Return short conversations, those with several answers as several turns apart."""
    return assets.chatterbot_rows(without=["tech_support"])


def definitions() -> list[dict[str, str]]:
    """Return Chinese words with their definitions as prompt and completion."""
    rows = assets.chinese_word_rows()[::50]
    return [
        {"prompt": f"{row['word']}：", "completion": row["definition"][:60]}
        for row in rows
        if len(row["definition"]) > 5
    ]


def passages() -> list[dict[str, str]]:
    """Return paragraphs of encyclopaedia articles as plain text."""
    return [{"text": text} for text in dict.fromkeys(r["passage"] for r in assets.boolq_rows())]


def topics() -> list[dict[str, str]]:
    """Return short questions and which of five topics they belong to."""
    asked = f"Which topic is this about? Answer with one word: {', '.join(TOPICS)}."
    return [
        {"system": asked, "text": row["text"], "label": row["label"]}
        for row in assets.chatterbot_topics(*TOPICS)
    ]


def reviews() -> list[dict[str, str]]:
    """Return short Chinese reviews with their sentiment."""
    return [row for row in assets.chinese_review_rows() if 10 <= len(row["text"]) <= 24]


def questions() -> list[dict[str, Any]]:
    """Return yes/no questions about a passage; the instruction tells the base model what is asked."""
    return [
        {
            "system": "Answer the question with Yes or No.",
            "context": row["passage"],
            "question": row["question"] + "?",
            "answer": "Yes" if str(row["answer"]).lower() == "true" else "No",
        }
        for row in assets.boolq_rows()
    ]


def situations() -> list[dict[str, Any]]:
    """Return questions about everyday situations; the answer is one of three options, as written."""
    return [
        {"system": "Answer with the right option, letter and words.", **row}
        for row in assets.siqa_rows()
    ]


def news() -> list[dict[str, str]]:
    """Return news articles and their summary in one sentence."""
    return [
        {
            "instruction": "Summarize the article in one short sentence.",
            "input": row["document"],
            "output": row["summary"],
        }
        for row in assets.xsum_rows()
    ]


CASES = {
    "chat, English dialogues": Case(
        "chat", "lora", talks, 50, {"data.max_length": 128, "optim.learning_rate": 1e-3}
    ),
    "completion, Chinese definitions": Case(
        "completion",
        "full-fine-tuning",
        definitions,
        24,
        {"data.max_length": 160, "optim.learning_rate": 1e-4},
    ),
    "pretraining, encyclopaedia text": Case(
        "pretraining",
        "lora",
        passages,
        14,
        {
            "data.max_length": 256,
            "data.packing": True,
            "evaluation.max_rows": 32,
            "optim.micro_batch": 4,
            "optim.learning_rate": 1e-3,
        },
    ),
    "classification, topics (generated label)": Case(
        "classification", "lora", topics, 40, {"data.max_length": 96, "optim.learning_rate": 1e-3}
    ),
    "classification, Chinese reviews (head)": Case(
        "classification",
        "layer-freezing",
        reviews,
        60,
        {
            "model.head": "classifier",
            "params.train_last": 10,
            "data.max_length": 64,
            "optim.micro_batch": 16,
            "optim.learning_rate": 3e-4,
            "evaluation.max_rows": 200,
        },
    ),
    "qa, yes/no about a passage": Case(
        "qa",
        "layer-freezing",
        questions,
        20,
        {"params.train_last": 10, "data.max_length": 192, "optim.learning_rate": 1e-4},
    ),
    "qa, one of three options": Case(
        "qa",
        "layer-freezing",
        situations,
        30,
        {"params.train_last": 10, "data.max_length": 128, "optim.learning_rate": 1e-4},
        guess=0.333,
    ),
    "summarization, news": Case(
        "summarization",
        "layer-freezing",
        news,
        18,
        {"params.train_last": 10, "data.max_length": 288, "optim.learning_rate": 1e-4},
    ),
}


def plan_for(name: str, case: Case, folder: Path, steps: int) -> Path:
    """Write the data and the plan of one case; return the plan's path."""
    rows = case.rows()
    data = assets.write_jsonl(rows, folder / "data.jsonl")
    changes = {
        "optim.micro_batch": 8,
        "optim.accumulate": 1,
        "optim.max_steps": steps,
        "optim.epochs": 10.0,
        "data.packing": False,
        "evaluation.every": float(steps),
        "evaluation.max_rows": 48,
        "evaluation.generated_rows": 48,
        "evaluation.max_new_tokens": 48,
        "evaluation.metrics": list(TASK_METRICS[case.task]),
        **case.changes,
    }
    request = PlanRequest(
        goal=Goal(task=case.task, skill=case.skill),
        model=str(assets.smollm2()),
        data=str(data),
        name="task-" + "".join(c if c.isalnum() else "-" for c in name.lower())[:40].strip("-"),
        change=PlanChange.model_validate(
            {"entries": [{"path": path, "value": value} for path, value in changes.items()]}
        ),
    )
    advice = make_plan(Context(folder), request)
    path = folder / "plan.yaml"
    advice.plan.save(path)
    return path


def run_case(name: str, case: Case, folder: Path, scale: float) -> Outcome:
    """Train one case through `tutor run` and read its events.

    Raises:
        RuntimeError: The run did not complete.
    """
    steps = max(2, round(case.steps * scale))
    path = plan_for(name, case, folder, steps)
    started = time.perf_counter()
    command = [sys.executable, "-m", "tutor_agent", "run", str(path), "--yes", "--follow"]
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "TUTOR_LANG": "en"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    (run,) = (folder / "runs").iterdir()
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [event for event in map(parse_event, lines) if event is not None]
    judged = {e.payload["phase"]: e for e in events if e.payload.get("split") == "test"}
    if {"before", "after"} - set(judged):
        raise RuntimeError(f"{name} did not complete:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return _outcome(name, case, judged, steps, seconds)


def _outcome(
    name: str, case: Case, judged: dict[Any, Event], steps: int, seconds: float
) -> Outcome:
    first, last = judged["before"], judged["after"]
    wanted = ("loss", *TASK_METRICS[case.task])
    figures = {
        key: (first.number(key) or 0.0, last.number(key) or 0.0)
        for key in wanted
        if last.number(key) is not None and first.number(key) is not None
    }
    metric = TASK_METRICS[case.task][0]
    before, after = figures[metric]
    return Outcome(
        name=name,
        task=case.task,
        skill=case.skill,
        metric=metric,
        before=before,
        after=after,
        better=is_better(metric, after, before),
        answered=int(last.number("answered") or 0),
        steps=steps,
        seconds=round(seconds, 1),
        figures=figures,
        guess=_guess(case),
    )


def _guess(case: Case) -> float | None:
    if case.guess is not None or case.task not in {"classification", "qa"}:
        return case.guess
    answers = [str(row.get("label", row.get("answer"))) for row in case.rows()]
    return round(max(map(answers.count, set(answers))) / len(answers), 3)


def print_row(outcome: Outcome) -> None:
    """Print one line of the table, and its other figures below."""
    mark = "better" if outcome.better else "NOT BETTER"
    guess = "" if outcome.guess is None else f"  (guessing: {outcome.guess})"
    print(
        f"{outcome.name:42} {outcome.skill:17} {outcome.metric:11} {outcome.before:9.4f} -> "
        f"{outcome.after:9.4f}  {mark}{guess}  {outcome.steps} steps, {outcome.seconds:.0f} s"
    )
    others = [f"{k} {a:.3f} -> {b:.3f}" for k, (a, b) in outcome.figures.items()]
    print(f"    {'; '.join(others)}", flush=True)


def main() -> int:
    """Run the cases and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=[], help="words of the cases to run")
    parser.add_argument("--scale", type=float, default=1.0, help="share of the steps")
    parser.add_argument("--keep", type=Path, help="folder for the runs, which then stay")
    options = parser.parse_args()
    outcomes: list[Outcome] = []
    with tempfile.TemporaryDirectory() as scratch:
        for i, (name, case) in enumerate(CASES.items()):
            if options.only and not any(word in name for word in options.only):
                continue
            folder = (options.keep or Path(scratch)) / str(i)
            folder.mkdir(parents=True)
            outcomes.append(run_case(name, case, folder, options.scale))
            print_row(outcomes[-1])
    if not options.only and options.scale == 1.0:
        RESULTS.parent.mkdir(exist_ok=True)
        text = json.dumps([asdict(one) for one in outcomes], indent=2, ensure_ascii=False)
        RESULTS.write_text(text + "\n", encoding="utf-8")
    return 0 if all(one.better for one in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
