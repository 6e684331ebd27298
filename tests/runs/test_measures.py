"""A run's own metrics, before and after: read from its events, judged by direction, told to people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tutor_agent.actions.context import Context
from tutor_agent.actions.runs import compare_runs
from tutor_agent.cli.render import better_by_lines, result_lines
from tutor_agent.core.events import Event, append_event
from tutor_agent.core.plan import Plan
from tutor_agent.runs.folder import RunFolder
from tutor_agent.runs.report import metric_verdict, write_report
from tutor_agent.runs.view import RunView, read_run

if TYPE_CHECKING:
    from pathlib import Path


def a_run(
    root: Path, name: str, task: str, before: dict[str, Any], after: dict[str, Any]
) -> RunView:
    """Write the folder of a run that has measured these figures on its test rows."""
    plan = Plan.parse(
        {
            "name": "a",
            "skill": "lora",
            "task": task,
            "model": {"source": "m"},
            "data": {"train": "d.csv"},
            "optim": {"learning_rate": 1e-4},
        },
        "test",
    )
    folder = RunFolder(root / "runs" / name)
    folder.path.mkdir(parents=True)
    plan.save(folder.plan_path)
    for number, (phase, figures) in enumerate((("before", before), ("after", after))):
        payload = {"split": "test", "phase": phase, **figures}
        event = Event(
            run=name,
            attempt=0,
            seq=number,
            t=float(number),
            step=0,
            kind="evaluation",
            payload=payload,
        )
        append_event(folder.events, event)
    return read_run(folder.path)


def test_the_tasks_own_metric_comes_first_and_knows_its_direction(tmp_path: Path) -> None:
    view = a_run(
        tmp_path,
        "a-1",
        "summarization",
        {"loss": 3.0, "perplexity": 20.1, "rougeL": 0.11, "rouge1": 0.2, "answered": 64},
        {"loss": 2.0, "perplexity": 7.4, "rougeL": 0.31, "rouge1": 0.1, "answered": 64},
    )
    assert [(m.name, m.outcome) for m in view.metrics] == [
        ("rougeL", "better"),
        ("rouge1", "worse"),
        ("perplexity", "better"),
    ]
    said = metric_verdict(view.metrics, view.answered)
    assert said is not None
    assert (
        said.en
        == "By ROUGE-L, the measure of this task, it is better: 11.0% → 31.0%, over 64 answers."
    )
    assert "“ROUGE-L”，变好了" in said.zh
    lines = "\n".join(result_lines(view, "en"))
    assert "11.0% → 31.0% ✓" in lines
    assert "20.0% → 10.0% ✗" in lines


def test_a_metric_without_written_answers_names_no_number_of_them(tmp_path: Path) -> None:
    figures = {"loss": 3.0, "token_accuracy": 0.4}
    view = a_run(tmp_path, "a-1", "pretraining", figures, {**figures, "token_accuracy": 0.4})
    said = metric_verdict(view.metrics, view.answered)
    assert said is not None
    assert said.en.endswith("nothing changed: 40.0%.")


def test_what_was_not_measured_is_not_told(tmp_path: Path) -> None:
    view = a_run(tmp_path, "a-1", "qa", {"loss": 3.0}, {"loss": 2.0})
    assert view.metrics == ()
    assert metric_verdict(view.metrics, view.answered) is None


def test_the_report_has_the_metrics_in_both_languages(tmp_path: Path) -> None:
    before = {"loss": 3.0, "accuracy": 0.5, "bleu": 1.0, "answered": 32}
    view = a_run(tmp_path, "a-1", "classification", before, {**before, "accuracy": 0.75})
    folder = RunFolder(tmp_path / "runs" / "a-1")
    write_report(folder, view)
    text = folder.report.read_text(encoding="utf-8")
    assert "| Test accuracy, before → after | 50.0% → 75.0% |" in text
    assert "| 测试准确率（训练前 → 训练后） | 50.0% → 75.0% |" in text
    assert "BLEU" not in text, "not a metric of this task"


@pytest.mark.parametrize(
    ("answers", "named"),
    [(64, {"exact_match": "a-2", "perplexity": "a-1"}), (32, {"perplexity": "a-1"})],
)
def test_two_runs_are_compared_by_every_metric_that_both_have(
    tmp_path: Path, answers: int, named: dict[str, str]
) -> None:
    first = {"loss": 2.0, "perplexity": 7.4, "exact_match": 0.4, "answered": 64}
    a_run(tmp_path, "a-1", "qa", first, first)
    second = {"loss": 2.1, "perplexity": 8.2, "exact_match": 0.5, "answered": answers}
    a_run(tmp_path, "a-2", "qa", second, second)
    compared = compare_runs(Context(tmp_path), "a-1", "a-2")
    assert compared.better == "a-1"
    assert compared.better_by == named
    assert any("perplexity" in line for line in better_by_lines(compared.better_by, "en"))
