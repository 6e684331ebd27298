"""A person's mistake gets a sentence that says what to do, the right exit code, and no traceback."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from tutor_agent.cli.commands import run

if TYPE_CHECKING:
    from pathlib import Path

PLAN = """\
name: bad
skill: lora
task: chat
model: {source: HuggingFaceTB/SmolLM2-135M-Instruct}
data: {train: rows.csv}
optim: {learning_rate: 1.0e-4}
"""


@pytest.fixture
def rows(workspace: Path) -> Path:
    path = workspace / "rows.csv"
    path.write_text("question,answer\nHow are you?,Fine.\nWho?,Me.\n", encoding="utf-8")
    return path


def _says(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    error = capsys.readouterr().err
    assert "Traceback" not in error
    for word in words:
        assert word in error


def test_missing_data_file(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "data", "nothing.csv"]) == 2
    _says(capsys, "nothing.csv")


def test_missing_file_offers_the_near_ones(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "data", "row.csv"]) == 2
    _says(capsys, "rows.csv")


def test_empty_csv(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "empty.csv").write_text("", encoding="utf-8")
    assert run(["inspect", "data", "empty.csv"]) == 2
    _says(capsys, "empty.csv")


def test_broken_row_is_named_by_its_line_and_the_rest_is_read(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "torn.csv").write_text("question,answer\na,b\nonly one\nc,d\n", encoding="utf-8")
    assert run(["inspect", "data", "torn.csv", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"] == 2
    assert [problem["line"] for problem in facts["problems"] if problem["line"]] == [3]


def test_unknown_model_offers_near_names(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "model", "SmolLM2-135M-Instrct"]) == 2
    _says(capsys, "SmolLM2-135M-Instruct")


def test_unknown_plan_key_names_the_nearest_and_the_file(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rows.with_name("plan.yaml")
    path.write_text(PLAN.replace("learning_rate", "learning_rte"), encoding="utf-8")
    assert run(["run", "plan.yaml", "--yes"]) == 2
    _says(capsys, "plan.yaml", "learning_rte", "learning_rate")


def test_more_processes_than_the_machine_has(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = rows.with_name("plan.yaml")
    path.write_text(PLAN + "launch: {processes: 4096}\n", encoding="utf-8")
    assert run(["run", "plan.yaml", "--yes"]) == 2
    _says(capsys, "4096", "launch.processes")
    assert not rows.with_name("runs").exists()


def test_plan_that_is_not_yaml(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows.with_name("plan.yaml").write_text("name: [", encoding="utf-8")
    assert run(["run", "plan.yaml", "--yes"]) == 2
    _says(capsys, "plan.yaml", "YAML")


def test_unknown_run(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["show", "ghost-1"]) == 2
    _says(capsys, "ghost-1")


def test_unknown_command_and_flag(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["trian"]) == 2
    assert run(["runs", "--jsn"]) == 2


def test_error_as_json_is_one_object(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["inspect", "data", "nothing.csv", "--json"]) == 2
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["kind"] == "NotFoundError"
    assert "nothing.csv" in error["zh"]


def test_set_without_equals_sign(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--model", "HuggingFaceTB/SmolLM2-135M-Instruct", "--data", "rows.csv"]
    assert run([*arguments, "--set", "optim.epochs"]) == 2
    _says(capsys, "optim.epochs", "=")


def test_without_consent_nothing_starts(
    rows: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows.with_name("plan.yaml").write_text(PLAN, encoding="utf-8")
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert run(["run", "plan.yaml"]) == 1
    assert not rows.with_name("runs").exists()
