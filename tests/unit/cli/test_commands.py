"""The commands' stable shapes, through the command line itself."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from tutor_agent.cli.commands import run, tutor

ROOT = Path(__file__).resolve().parents[3]
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def rows(workspace: Path) -> Path:
    path = workspace / "rows.csv"
    lines = [f"What is {n} plus one?,It is {n + 1}." for n in range(400)]
    path.write_text("question,answer\n" + "\n".join(lines) + "\n", encoding="utf-8")
    return path


def _json(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out)


def test_every_command_has_help_and_is_documented() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for name, command in tutor.commands.items():
        assert command.help, name
        assert f"`{name}" in page, name


@pytest.mark.parametrize("name", sorted(tutor.commands))
def test_help_works(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert "Usage" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("question", "language"),
    [("loss 0 grad_norm nan 是什么意思", "zh"), ("what does loss 0 with grad_norm nan mean", "en")],
)
def test_ask(
    question: str, language: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["ask", question, "--json"]) == 0
    answer = _json(capsys)
    assert set(answer) == {"answer", "language", "cards", "answered_by", "suggestions"}
    assert answer["language"] == language
    assert answer["cards"]
    assert "logging_nan_inf_filter" in str(answer["answer"]) or "NaN" in str(answer["answer"])


def test_plan_gives_plan_why_and_forecast(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--goal", "answer questions", "--model", MODEL, "--data", "rows.csv"]
    assert run([*arguments, "-o", "plan.yaml", "--json"]) == 0
    result = _json(capsys)
    assert {"plan", "why", "forecast", "candidates", "warnings"} == set(result)
    assert rows.with_name("plan.yaml").is_file()
    assert rows.with_name("why.yaml").is_file()


def test_plan_for_a_described_machine(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["plan", "--model", "deepseek-ai/deepseek-llm-7b-chat", "--data", "rows.csv"]
    assert run([*arguments, "--machine", "4xA100-80G", "--json"]) == 0
    plan = _json(capsys)["plan"]
    assert isinstance(plan, dict)
    assert plan["launch"]["processes"] == 4
    assert plan["model"]["dtype"] in {"bf16", "auto"}


def test_set_decides_a_field(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "plan",
        "--model",
        MODEL,
        "--data",
        "rows.csv",
        "--set",
        "optim.learning_rate=1e-5",
    ]
    assert run([*arguments, "--json"]) == 0
    plan = _json(capsys)["plan"]
    assert isinstance(plan, dict)
    assert plan["optim"]["learning_rate"] == 1e-5


def test_why_reads_the_reason_beside_the_plan(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["plan", "--model", MODEL, "--data", "rows.csv", "-o", "plan.yaml"]) == 0
    capsys.readouterr()
    assert run(["why", "plan.yaml", "learning_rate", "--json"]) == 0
    reason = _json(capsys)
    assert reason["field"] == "optim.learning_rate"
    assert reason["source"]


def test_estimate(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["estimate", "--model", "deepseek-ai/deepseek-llm-7b-chat", "--skill", "lora"]
    assert run([*arguments, "--micro-batch", "2", "--machine", "1xA100-80G", "--json"]) == 0
    result = _json(capsys)
    needed = {"peak_gib_per_gpu", "parts", "peak_stage", "fits", "tokens_per_second", "hours"}
    assert needed <= set(result)
    peak = result["peak_gib_per_gpu"]
    assert isinstance(peak, dict)
    assert peak["low"] <= peak["expected"] <= peak["high"]


def test_diagnose_a_pasted_log(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    log = workspace / "train.log"
    log.write_text(
        "TypeError: TrainingArguments.__init__() got an unexpected keyword argument "
        "'evaluation_strategy'\n",
        encoding="utf-8",
    )
    assert run(["diagnose", "train.log", "--json"]) == 3
    result = _json(capsys)
    causes = result["causes"]
    assert isinstance(causes, list)
    assert causes[0]["cause"] == "renamed_argument"
    monkeypatch.setattr("sys.stdin", io.StringIO(log.read_text(encoding="utf-8")))
    assert run(["diagnose", "-", "--json"]) == 3


def test_explain_and_skills_and_check(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "lr_too_high"]) == 0
    assert run(["skills", "--json"]) == 0
    assert run(["check"]) == 0
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "part"),
    [
        (("--quantization", "nf4"), "weights"),
        (("--quantization", "int8"), "weights"),
        (("--head", "classifier"), "loss"),
        (("--liger",), "loss"),
        (("--no-gradient-checkpointing", "--compile"), "activations"),
    ],
)
def test_an_estimate_knows_what_saves_memory(
    flags: tuple[str, ...], part: str, workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = ("--model", "deepseek-ai/deepseek-llm-7b-base", "--machine", "1xA100-80G")
    base = ["estimate", *model, "--json", *(f for f in flags if "checkpointing" in f)]
    assert run(base) == 0
    plain = json.loads(capsys.readouterr().out)
    assert run([*base, *flags]) == 0
    lean = json.loads(capsys.readouterr().out)
    assert lean["parts"][part] < plain["parts"][part]
    assert lean["peak_gib_per_gpu"]["expected"] < plain["peak_gib_per_gpu"]["expected"]


@pytest.mark.parametrize(
    "field",
    [
        *("head", "liger", "compile", "attention", "batching", "deterministic", "schedule"),
        *("generated_rows", "max_new_tokens", "metrics", "trackers", "quantization"),
    ],
)
def test_why_answers_for_every_kernel_and_measure(
    field: str, rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["plan", "--model", MODEL, "--data", "rows.csv", "-o", "plan.yaml"]
    assert run([*arguments, "--set", "params.quantization=nf4", "--set", 'trackers=["wandb"]']) == 0
    capsys.readouterr()
    assert run(["why", "plan.yaml", field, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["field"].endswith(field)
    assert found["reason"]["zh"]
    assert found["source"]
    assert found["alternative"]["zh"]
    assert found["card"]
