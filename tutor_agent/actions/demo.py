"""The whole loop on a small real model and a small real data set.

This only chooses model, data and a plan that ends within minutes; from there on everything is the path
that every run takes.
"""

from __future__ import annotations

import json
import zipfile
from typing import TYPE_CHECKING, Any

import yaml

from tutor_agent.actions.plan import PlanRequest
from tutor_agent.core.changes import PlanChange
from tutor_agent.core.facts import Goal
from tutor_agent.core.resources import cache_dir
from tutor_agent.core.storage import write_atomic
from tutor_agent.probe.wheels import fetch_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tutor_agent.actions.context import Context
    from tutor_agent.core.text import Text

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
_CORPUS = ("chatterbot-corpus", "1.3.3")
_DIALOGUES = "chatterbot_corpus/data/english/"
# What keeps the run within minutes on two CPU cores; a plan of one's own has no such limits.
_SMALL: dict[str, Any] = {
    "optim.max_steps": 60,
    "optim.micro_batch": 8,
    "optim.accumulate": 1,
    "data.max_length": 128,
    "evaluation.max_rows": 48,
}
# 250 times the usual rate for LoRA, reached slowly: there is a good checkpoint before the loss leaves its
# range. Early stopping would end such a run quietly, which is another lesson.
_FAULTS: dict[str, dict[str, Any]] = {
    "lr": {
        "optim.learning_rate": 0.05,
        "optim.warmup": 24,
        "evaluation.every": 5,
        "evaluation.early_stopping": None,
    }
}


def demo_request(
    context: Context,
    data: str | None,
    broken: str | None,
    report: Callable[[Text], None] | None = None,
) -> PlanRequest:
    """Choose what the demonstration runs on; `broken` names a fault to put into its plan."""
    path = context.file(data) if data else example_data(report)
    settings = {**_SMALL, **(_FAULTS[broken] if broken else {})}
    return PlanRequest(
        goal=Goal(skill="lora", language=context.language, words="demo"),
        model=MODEL,
        data=str(path),
        name=f"demo-{broken}" if broken else "demo",
        change=PlanChange.model_validate(
            {"entries": [{"path": key, "value": value} for key, value in settings.items()]}
        ),
    )


def example_data(report: Callable[[Text], None] | None = None) -> Path:
    """Return a file of short English dialogues (chatterbot-corpus, BSD), made once in the cache."""
    path = cache_dir() / "data" / "chatterbot-english.jsonl"
    if not path.is_file():
        wheel = fetch_wheel(*_CORPUS, report)
        rows = dict.fromkeys(_dialogues(wheel))
        write_atomic(path, "\n".join(rows) + "\n")
    return path


def _dialogues(wheel: Path) -> Iterator[str]:
    """Yield each dialogue as one line of JSON in the `messages` format."""
    with zipfile.ZipFile(wheel) as archive:
        for name in sorted(archive.namelist()):
            if name.startswith(_DIALOGUES) and name.endswith(".yml"):
                corpus: dict[str, Any] = yaml.safe_load(archive.read(name))
                for turns in corpus["conversations"]:
                    texts = [str(turn) for turn in turns if turn is not None]
                    if len(texts) >= 2:
                        yield json.dumps({"messages": _messages(texts)}, ensure_ascii=False)


def _messages(texts: list[str]) -> list[dict[str, str]]:
    pairs = texts[: len(texts) // 2 * 2]
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(pairs)]
