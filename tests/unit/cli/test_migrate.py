"""`tutor migrate`: findings with their lines, a valid plan with reasons, and errors that help."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.unit.probe import scripts
from tutor_agent.advise.script_findings import SEVERITIES
from tutor_agent.cli.commands import run
from tutor_agent.core.plan import Plan

if TYPE_CHECKING:
    from pathlib import Path

SMALL = "HuggingFaceTB/SmolLM2-135M-Instruct"
KEYS = {"script", "kind", "findings", "plan", "why", "lines", "forecast", "warnings", "needs"}


def _migrate(
    code: str, capsys: pytest.CaptureFixture[str], workspace: Path, *options: str
) -> dict[str, Any]:
    (workspace / "old.py").write_text(code, encoding="utf-8")
    assert run(["migrate", "old.py", "--json", *options]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found) == KEYS
    if found["plan"] is not None:
        Plan.parse(found["plan"], "migrated plan")
    return found


def _kinds(found: dict[str, Any]) -> dict[str, str]:
    return {each["kind"]: each["severity"] for each in found["findings"]}


def _lines(found: dict[str, Any], kind: str) -> list[str]:
    return [each["code"] for each in found["findings"] if each["kind"] == kind]


def _texts(workspace: Path, name: str, count: int, columns: str = "text") -> None:
    width = columns.count(",") + 1
    rows = [",".join([f"row {n} of a short text"] * width) for n in range(count)]
    (workspace / name).write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")


def test_the_guide_without_its_data(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = _migrate(scripts.GUIDE, capsys, workspace)
    kinds = _kinds(found)
    assert {kind for kind, severity in kinds.items() if severity == "breaks"} == {
        "model-name",
        "no-labels",
        "renamed",
        "removed",
    }
    assert kinds["padding"] == "wrong"
    assert {"large-batch", "many-epochs"} <= kinds.keys()
    assert _lines(found, "renamed") == ['evaluation_strategy="steps",', "tokenizer=tokenizer,"]
    plan = found["plan"]
    assert plan["model"]["source"] == "deepseek-ai/deepseek-llm-67b-base"
    assert plan["data"]["train"] == "train_data.csv"
    assert plan["optim"]["micro_batch"] == 128
    assert found["lines"]["optim.learning_rate"] == 22
    assert found["why"]["optim.learning_rate"]["reason"]["en"] == "From your script, line 22."
    assert found["why"]["optim.epochs"]["alternative"]["zh"]
    order = [SEVERITIES.index(each["severity"]) for each in found["findings"]]
    assert order == sorted(order)


def test_with_data_the_plan_is_priced_and_mended(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, count in (("train", 300), ("val", 40), ("test", 40)):
        _texts(workspace, f"{name}_data.csv", count)
    found = _migrate(scripts.GUIDE, capsys, workspace, "--model", SMALL)
    plan = found["plan"]
    assert found["forecast"]["steps"] == 45
    assert plan["evaluation"]["every"] < 1
    assert plan["optim"]["warmup"] < 1
    assert plan["data"]["columns"] == {"text": "text"}
    assert _lines(found, "not-kept") == ["warmup_steps=500,", "eval_steps=500,"]
    why = found["why"]["optim.micro_batch"]
    assert why["reason"]["en"].startswith("From your script, line 20")
    assert why["alternative"]["en"].startswith("The tutor would advise ")


def test_a_missing_validation_file_is_said(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _texts(workspace, "train_data.csv", 100)
    found = _migrate(scripts.GUIDE, capsys, workspace, "--model", SMALL)
    assert found["plan"]["data"]["validation"] is None
    assert _kinds(found)["missing-file"] == "breaks"


@pytest.mark.parametrize(
    ("code", "kinds", "needs"),
    [
        (scripts.ARGPARSE_LORA, {"pad-is-end", "remote-code", "value", "renamed"}, []),
        (scripts.SFT, {"renamed", "not-carried"}, []),
        (scripts.SFT_BY_NAME, {"data", "renamed"}, ["data"]),
        (scripts.FREEZING, {"padding"}, []),
        (scripts.CLASSIFIER, {"own-metrics"}, []),
        (
            scripts.CONDITIONAL,
            {"value", "model", "data", "best-model", "fp16-without-gpu", "own-code"},
            ["model", "data"],
        ),
        (scripts.OLD_NAMES, {"renamed", "removed", "masked-words", "data"}, ["data"]),
        (scripts.OPTIONS, {"outside"}, []),
        (scripts.HELPERS, {"renamed"}, []),
        (scripts.PREPARATION, {"preparation"}, ["model"]),
    ],
    ids=[
        "lora",
        "sft",
        "by-name",
        "freezing",
        "classes",
        "unknown",
        "old",
        "options",
        "helpers",
        "preparation",
    ],
)
def test_findings_of_other_scripts(
    code: str,
    kinds: set[str],
    needs: list[str],
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _migrate(code, capsys, workspace, "--machine", "cpu")
    assert kinds <= _kinds(found).keys()
    assert found["needs"] == needs
    assert (found["plan"] is None) == bool(needs)
    for each in found["findings"]:
        assert each["text"]["zh"] != each["text"]["en"]


def test_preparation_becomes_a_plan_on_the_raw_file(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _texts(workspace, "raw_data.csv", 200)
    found = _migrate(scripts.PREPARATION, capsys, workspace, "--model", SMALL)
    assert found["plan"]["data"]["train"].endswith("raw_data.csv")
    assert found["plan"]["data"]["holdout"] == 0.1
    (said,) = found["findings"]
    assert "80 / 10 / 10" in said["text"]["en"]
    assert "duplicates, missing" in said["text"]["en"]


def test_gpu_settings_are_let_go_on_a_cpu(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _texts(workspace, "chat.csv", 200, "question,answer")
    code = scripts.SFT.replace('"json", data_files="chat.jsonl"', '"csv", data_files="chat.csv"')
    found = _migrate(code, capsys, workspace, "--model", SMALL, "--machine", "cpu")
    assert found["forecast"] is not None, found["warnings"]
    assert found["plan"]["skill"] == "lora"
    assert found["plan"]["params"]["r"] == 64
    assert found["plan"]["optim"]["optimizer"] == "adamw"
    assert found["plan"]["model"]["attention"] == "sdpa"
    assert len(_lines(found, "not-kept")) >= 2


def test_the_plan_is_written(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "old.ipynb").write_text(scripts.notebook(scripts.GUIDE), encoding="utf-8")
    assert run(["migrate", "old.ipynb", "-o", "plan.yaml"]) == 0
    assert Plan.load(workspace / "plan.yaml").optim.epochs == 15
    why = yaml.safe_load((workspace / "why.yaml").read_text(encoding="utf-8"))
    assert why["optim.epochs"]["reason"]["zh"].startswith("来自你的脚本第 3 个单元格")
    assert "cell 3, line" in capsys.readouterr().out


def test_it_speaks_chinese(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "old.py").write_text(scripts.GUIDE, encoding="utf-8")
    assert run(["--lang", "zh", "migrate", "old.py"]) == 0
    said = capsys.readouterr().out
    assert "现在会出错" in said
    assert "第 22 行" in said


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (scripts.LOOP, "loop of its own"),
        (scripts.PYTHON2, "Python 2"),
        (scripts.BROKEN, "line 2"),
        (scripts.NOTHING, "trains nothing"),
        (scripts.DPO, "DPOTrainer"),
    ],
)
def test_errors(code: str, says: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workspace / "old.py").write_text(code, encoding="utf-8")
    assert run(["migrate", "old.py"]) == 2
    assert says in capsys.readouterr().err
    assert run(["migrate", "old.py", "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["error"]["zh"]


def test_a_missing_script(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["migrate", "none.py"]) == 2
    assert "none.py" in capsys.readouterr().err
