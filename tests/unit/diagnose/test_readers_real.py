"""Logs of other tools, trimmed: TRL, LLaMA-Factory and torchrun as they ran here, the rest as they print."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from tutor_agent.actions.context import Context
from tutor_agent.actions.diagnose import diagnose_path
from tutor_agent.diagnose.readers import read_path, read_text
from tutor_agent.diagnose.readers.folders import runs_in

LOGS = Path(__file__).with_name("logs")
VERDICTS = {
    "trl-nan.log": "lr_too_high",
    "trl-overfit.log": "overfitting",
    "trl-healthy.log": "healthy",
    "llama-factory-nan.log": "lr_too_high",
    "llama-factory-overfit.log": "overfitting",
    "llama-factory-overfit.jsonl": "overfitting",
    "axolotl-fp16.log": "fp16_overflow",
    "axolotl-oom.log": "oom_model_states",
    "ms-swift-healthy.log": "healthy",
    "ms-swift-masked.log": "all_labels_masked",
    "unsloth-overfit.log": "overfitting",
    "deepspeed-scale.log": "fp16_overflow",
    "deepspeed-start.log": "healthy",
    "nccl-tokenising.log": "ddp_timeout_short",
    "torchrun-killed.log": "oom_host_ram",
    "slurm-memory.out": "oom_host_ram",
    "slurm-time.out": "healthy",
    "slurm-preempted.out": "healthy",
}
ENDINGS = {
    "slurm-time.out": ("time limit", "时间上限"),
    "slurm-preempted.out": ("preemption", "抢占"),
}


@pytest.mark.parametrize("name", VERDICTS)
def test_what_is_said_of_a_log(name: str) -> None:
    found = diagnose_path(Context(workspace=LOGS, language="zh"), name)
    causes = [finding.cause for finding in found.findings]
    assert (causes[0] if causes else found.verdict) == VERDICTS[name]
    for finding in found.findings[:1]:
        assert finding.evidence
        assert finding.fixes


def test_every_log_here_is_looked_at() -> None:
    assert {path.name for path in LOGS.iterdir()} == set(VERDICTS)


@pytest.mark.parametrize("name", ENDINGS)
def test_who_ended_a_job_is_told(name: str) -> None:
    note = diagnose_path(Context(workspace=LOGS, language="en"), name).note
    assert note is not None
    en, zh = ENDINGS[name]
    assert en in note.en
    assert zh in note.zh


def test_a_job_that_failed_by_itself_was_not_cancelled() -> None:
    note = diagnose_path(Context(workspace=LOGS, language="en"), "slurm-memory.out").note
    assert note is None or "cancelled" not in note.en


@pytest.mark.parametrize(
    ("name", "metric", "count", "last"),
    [
        ("trl-overfit.log", "eval_loss", 12, 4.364),
        ("llama-factory-overfit.log", "loss", 24, 0.1753),
        ("llama-factory-overfit.jsonl", "eval_loss", 12, 4.26),
        ("ms-swift-healthy.log", "eval_loss", 3, 1.23),
        ("unsloth-overfit.log", "loss", 10, 0.05),
        ("slurm-time.out", "loss", 40, 1.516),
        ("torchrun-killed.log", "loss", 3, 2.0),
    ],
)
def test_the_curve_of_a_log(name: str, metric: str, count: int, last: float) -> None:
    series = read_path(LOGS / name).metric(metric)
    assert len(series) == count
    assert series.values[-1] == pytest.approx(last, rel=1e-3)


@pytest.mark.parametrize("name", ["trl-nan.log", "ms-swift-healthy.log", "trl-healthy.log"])
def test_a_log_says_that_training_is_over(name: str) -> None:
    text = (LOGS / name).read_text(encoding="utf-8")
    assert read_text(text).finished is (name != "trl-nan.log" or "train_runtime" in text)
    assert not read_text(text[: text.index("'epoch'") + 200]).finished


def test_speed_comes_from_the_bar_of_training() -> None:
    bars = (
        "Loading weights: 100%|███| 272/272 [00:00<00:00, 40132.64it/s]\n"
        "Map:   0%|   | 0/60 [00:00<?, ? examples/s]\rMap: 100%|███| 60/60 [00:00<00:00, 3931.46 examples/s]\n"
    )
    steps = "".join(
        f"  3%|   | {i}/30 [00:{2 * i:02d}<01:19,  2.00s/it]\r{{'loss': '2.{i}', 'epoch': '{i}'}}\n"
        "100%|███| 3/3 [00:00<00:00, 90.00it/s]\n"
        for i in range(1, 6)
    )
    seen = read_text(bars + steps)
    assert seen.metric("iterations_per_second").values == [0.5] * 5
    assert not any("Map" in line for line in seen.lines)
    assert any(
        "Map:  30%" in line
        for line in read_text("Map:  30%|   | 18/60 [00:10<00:23,  1.80 examples/s]").lines
    )


@pytest.mark.parametrize(
    "line",
    [
        '  "learning_rate": 0.0002,',
        "learning_rate: 0.0002",
        "    learning_rate=0.0002,",
        "[2025-02-01 09:00:01,220] [INFO] [config.py:1005:print]   learning_rate ................. 0.0002",
    ],
)
def test_settings_that_a_tool_lists(line: str) -> None:
    assert read_text(f"some words\n{line}\nother words").config["learning_rate"] == "0.0002"


class TestFolders:
    def test_metrics_come_from_the_file_that_holds_most(self, tmp_path: Path) -> None:
        (tmp_path / "trainer_log.jsonl").write_text(
            (LOGS / "llama-factory-overfit.jsonl").read_text(encoding="utf-8"), encoding="utf-8"
        )
        self._state(tmp_path / "checkpoint-12", steps=12)
        seen = read_path(tmp_path)
        assert len(seen.metric("loss")) == 24
        assert len(seen.metric("grad_norm")) == 12
        assert not seen.finished
        self._state(tmp_path, steps=24, at=1.0)
        assert read_path(tmp_path).finished

    def test_the_newest_of_several_runs(self, tmp_path: Path) -> None:
        for number, name in enumerate(("second", "first")):
            self._state(tmp_path / name / "checkpoint-3", steps=3, at=1000.0 - number)
        runs = runs_in(tmp_path)
        assert [run.home.name for run in runs] == ["second", "first"]
        note = diagnose_path(Context(workspace=tmp_path, language="en"), ".").note
        assert note is not None
        assert "2 runs" in note.en
        assert note.en.count("second") == 1

    def test_attempts_and_ranks(self, tmp_path: Path) -> None:
        for at, name in enumerate(("slurm-9.out", "slurm-10.out", "rank-0.log", "rank-1.log")):
            self._write(tmp_path / name, "words", at)
        (run,) = runs_in(tmp_path)
        assert {log.name for log in run.logs} == {"slurm-10.out", "rank-0.log", "rank-1.log"}

    def test_folders_that_belong_to_one_run(self, tmp_path: Path) -> None:
        for name in (
            "exp/runs/Nov25_10-22-16_vm/events.out.tfevents.1",
            "exp/checkpoint-30/trainer_state.json",
            "exp/none_ab12cd34/attempt_0/1/stderr.log",
            "exp/wandb/run-20250101_101010-abcd/files/output.log",
            "exp/logs/train.log",
            "exp.log",
        ):
            self._write(tmp_path / name, "", 0)
        self._write(tmp_path / "other" / "train.log", "", 0)
        assert sorted(len(run.all) for run in runs_in(tmp_path)) == [1, 6]

    def test_a_log_beside_its_only_output(self, tmp_path: Path) -> None:
        self._write(tmp_path / "console.log", "{'loss': 2.0}\n", 0)
        self._state(tmp_path / "out" / "checkpoint-3", steps=3)
        (run,) = runs_in(tmp_path)
        assert len(run.all) == 2

    def _state(self, folder: Path, steps: int, at: float = 0.0) -> None:
        history = [{"loss": 2.0, "grad_norm": 1.0, "step": n + 1} for n in range(steps)]
        state = {"global_step": steps, "max_steps": 24, "log_history": history}
        self._write(folder / "trainer_state.json", json.dumps(state, indent=2), at)

    def _write(self, path: Path, text: str, at: float) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        os.utime(path, (1e9 + at, 1e9 + at))


def test_a_broken_run_never_heals() -> None:
    seen = read_path(LOGS / "axolotl-fp16.log")
    assert math.isnan(seen.metric("grad_norm").values[-1])
    assert seen.metric("loss").values[-1] == 0


@pytest.mark.parametrize(
    ("losses", "gradient", "bad"),
    [
        ([2.1, 2.0, 0.0, 0.0, 0.0], "", 2),
        ([2.1, 2.0, 0.0, 1.9, 1.8], "", None),
        ([0.3, 0.05, 0.0, 0.0, 0.0], "", None),
        ([0.0, 0.0, 0.0, 0.0], "", None),
        ([2.1, 2.0, 0.0, 0.0, 0.0], ', "grad_norm": 0.0', None),
    ],
)
def test_a_loss_of_0_that_is_no_number(losses: list[float], gradient: str, bad: int | None) -> None:
    text = "\n".join(
        f'{{"current_steps": {i + 1}, "loss": {v}{gradient}}}' for i, v in enumerate(losses)
    )
    assert read_text(text).metric("loss").bad == bad
