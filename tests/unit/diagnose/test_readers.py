"""Logs of many tools become the same observations."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import pytest

from tests.unit.diagnose.runs import PLAN, Script
from tutor_agent.core.errors import NotFoundError
from tutor_agent.diagnose.readers import read_path, read_run_events, read_text

if TYPE_CHECKING:
    from pathlib import Path


def values(words: str, name: str = "loss") -> list[float]:
    return read_text(words).metric(name).values


@pytest.mark.parametrize(
    ("line", "loss", "rate"),
    [
        ("{'loss': 2.1, 'grad_norm': 1.5, 'learning_rate': 2e-05, 'epoch': 0.1}", 2.1, 2e-5),
        (
            "{'loss': '2.1', 'grad_norm': '1.5', 'learning_rate': '2e-05', 'epoch': '0.1'}",
            2.1,
            2e-5,
        ),
        ('{"current_steps": 10, "total_steps": 90, "loss": 2.1, "lr": 2e-05}', 2.1, 2e-5),
        ("step 10 loss 2.1 lr 2e-05", 2.1, 2e-5),
        ("Epoch 1, Step 10, Loss: 2.1, lr=2e-05", 2.1, 2e-5),
        ("Iter 10: Train loss 2.1, Learning Rate 2.000e-05, It/sec 1.750", 2.1, 2e-5),
        (
            " 12%|█▏ | 10/90 [00:10<01:20, 1.00it/s] {'loss': 2.1, 'learning_rate': 2e-05}",
            2.1,
            2e-5,
        ),
        ("训练损失: 2.1 学习率: 2e-05", 2.1, 2e-5),
    ],
)
def test_metric_lines(line: str, loss: float, rate: float) -> None:
    assert values(line) == [loss]
    assert values(line, "learning_rate") == [rate]


@pytest.mark.parametrize("word", ["nan", "'nan'", "NaN", '"nan"'])
def test_nan_in_all_spellings(word: str) -> None:
    assert math.isnan(values(f"{{'loss': {word}, 'epoch': 1}}")[0])


@pytest.mark.parametrize("word", ["inf", "'inf'", "-inf", "Infinity"])
def test_infinity_in_all_spellings(word: str) -> None:
    assert math.isinf(values(f"{{'loss': {word}, 'epoch': 1}}")[0])


def test_steps_come_from_the_log_from_the_bar_or_from_counting() -> None:
    assert read_text("step 41 loss 1.7\nstep 51 loss 1.6").metric("loss").steps == [41, 51]
    bars = (
        "10/90 [00:10<01:20, 1.00it/s] {'loss': 2.0}\n20/90 [00:20<01:10, 1.00it/s] {'loss': 1.9}"
    )
    assert read_text(bars).metric("loss").steps == [10, 20]
    assert read_text("{'loss': 2.0}\n{'loss': 1.9}").metric("loss").steps == [1, 2]


def test_an_evaluation_belongs_to_the_step_before_it() -> None:
    seen = read_text("{'loss': 2.0}\n{'eval_loss': 1.9}\n{'loss': 1.8}\n{'eval_loss': 1.7}")
    assert seen.metric("eval_loss").steps == [1, 2]


def test_the_summary_at_the_end_is_no_point() -> None:
    assert values("{'loss': 2.0}\n{'train_runtime': 9.1, 'train_loss': 1.2}") == [2.0]


@pytest.mark.parametrize(
    "line", ["loss scale: 65536", "lossless 2.0", "no loss here", "loss -> model"]
)
def test_lines_that_only_look_like_metrics(line: str) -> None:
    assert values(line) == []


def test_arrows_are_points() -> None:
    assert values("general_acc 0.64 -> 0.41", "general_metric") == [0.64, 0.41]


def test_colours_and_overwritten_bars_are_gone() -> None:
    words = (
        "\x1b[32m{'loss': 2.0}\x1b[0m\n 1/9 [00:01<00:08, 1.0it/s]\r 2/9 [00:02<00:07, 1.0it/s]\n"
    )
    seen = read_text(words)
    assert values(words) == [2.0]
    assert not any("\x1b" in line for line in seen.lines)
    assert sum("it/s" in line for line in seen.lines) == 1


def test_seconds_per_step_become_a_rate() -> None:
    seen = read_text("  1%| | 1/66 [06:12<6:43:10, 372.16s/it]")
    assert seen.metric("iterations_per_second").values == [pytest.approx(1 / 372.16)]


def test_the_last_exception_is_the_error() -> None:
    words = "ValueError: first\n\nDuring handling …\nRuntimeError: CUDA error: device-side assert"
    assert read_text(words).error == "RuntimeError: CUDA error: device-side assert"


def test_flags_and_versions_are_settings() -> None:
    seen = read_text(
        "torchrun train.py --learning_rate 1e-4 --fp16 True --lora-r 8\ntransformers==4.38.2"
    )
    assert seen.config["learning_rate"] == "1e-4"
    assert seen.config["lora_r"] == "8"
    assert seen.versions["transformers"] == "4.38.2"


@pytest.mark.parametrize(
    ("words", "phase"),
    [
        ("in evaluation_loop\npreds_host = nested_concat(", "evaluate"),
        ("self._save_checkpoint(model)\nstate_dict()", "save"),
        ("Loading checkpoint shards:  40%", "load"),
        ("self.accelerator.backward(loss)\nin training_step", "train"),
    ],
)
def test_phase(words: str, phase: str) -> None:
    assert read_text(words).phase == phase


def test_events_with_their_plan() -> None:
    script = Script()
    events = [
        script.event("run_started", 0, dtype="bf16", versions={"transformers": "5.24.0"}),
        *script.steps([2.0, 1.9]),
        script.event("evaluation", 2, split="validation", phase="during", loss=1.8, accuracy=0.5),
        script.event("evaluation", 2, split="test", phase="after", loss=9.9),
    ]
    seen = read_run_events(events, PLAN)
    assert seen.metric("loss").values == [2.0, 1.9]
    assert seen.metric("eval_loss").values == [1.8]
    assert seen.metric("metric_up").values == [0.5]
    assert seen.config["optim.learning_rate"] == 2e-4
    assert seen.versions["transformers"] == "5.24.0"


def test_a_resume_cuts_the_curve() -> None:
    before, after = Script(0), Script(1)
    events = [
        *before.steps([2.0, 1.9, 1.8, 9.0]),
        before.event("halted", 4, reason="non_finite_loss", loss="nan"),
        after.event("run_started", 0),
        *after.steps([1.7, 1.6], first=3),
    ]
    seen = read_run_events(events)
    assert seen.metric("loss").values == [2.0, 1.9, 1.7, 1.6]
    assert seen.halted is None


def test_the_step_that_halted_the_run_is_the_last_point() -> None:
    script = Script()
    halted = script.event("halted", 2, reason="non_finite_loss", loss="nan", grad_norm="inf")
    seen = read_run_events([*script.steps([2.0, 1.9]), halted])
    assert seen.metric("loss").steps == [1, 2, 3]
    assert math.isnan(seen.metric("loss").values[-1])


def test_mixed_and_cut_files(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    path.write_bytes(b"{'loss': 2.0}\n\xff\xfe garbage \x00\n{'loss': 1.9, 'grad_no")
    assert read_path(path).metric("loss").values == [2.0, 1.9]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "train.log"
    path.write_bytes("训练损失: 2.5\n显存不足，训练失败，请检查\n".encode(encoding))
    seen = read_path(path)
    assert seen.metric("loss").values == [2.5]
    assert "显存不足" in seen.text


def test_trainer_state(tmp_path: Path) -> None:
    history = [
        {"loss": 2.0, "step": 10, "epoch": 0.5},
        {"eval_loss": 1.9, "step": 10, "epoch": 0.5},
        {"loss": 1.5, "step": 20, "epoch": 1.0},
        {"train_runtime": 3.0, "train_loss": 1.7, "step": 20},
    ]
    folder = tmp_path / "checkpoint-20"
    folder.mkdir()
    (folder / "trainer_state.json").write_text(
        json.dumps({"log_history": history}), encoding="utf-8"
    )
    for path in (folder / "trainer_state.json", folder, tmp_path):
        seen = read_path(path)
        assert seen.metric("loss").values == [2.0, 1.5]
        assert seen.metric("loss").steps == [10, 20]
        assert seen.metric("eval_loss").values == [1.9]


def test_a_run_folder_with_plan_events_and_logs(tmp_path: Path) -> None:
    script = Script()
    lines = [event.line() for event in script.steps([2.0, 1.9])]
    (tmp_path / "events.jsonl").write_text("\n".join(lines) + '\n{"v":1,"ru', encoding="utf-8")
    PLAN.save(tmp_path / "plan.yaml")
    logs = tmp_path / "logs" / "attempt-0"
    logs.mkdir(parents=True)
    (logs / "rank-0.log").write_text(
        "torch.OutOfMemoryError: CUDA out of memory.\n", encoding="utf-8"
    )
    seen = read_path(tmp_path)
    assert seen.plan == PLAN
    assert seen.metric("loss").values == [2.0, 1.9]
    assert "OutOfMemoryError" in seen.error


def test_a_huge_log_keeps_head_and_tail(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    with path.open("w", encoding="utf-8") as stream:
        stream.write("{'loss': 2.0}\n")
        stream.writelines("x" * 99 + "\n" for _ in range(180_000))
        stream.write("{'loss': 1.5}\nKilled\n")
    seen = read_path(path)
    assert seen.metric("loss").values == [2.0, 1.5]
    assert len(seen.lines) <= 4000
    assert seen.error == "Killed"


def test_a_missing_log_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="log file"):
        read_path(tmp_path / "nothing.log")
    with pytest.raises(NotFoundError, match=r"trainer_state\.json"):
        read_path(tmp_path)
