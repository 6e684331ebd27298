"""What real tools print: every line as its tool writes it."""

from __future__ import annotations

import json
import math
import struct
from typing import TYPE_CHECKING

import pytest

from tutor_agent.diagnose.readers import read_path, read_text
from tutor_agent.diagnose.readers.stream import text_of

if TYPE_CHECKING:
    from pathlib import Path

LINES = {
    "trl": "{'loss': '1.834', 'grad_norm': '0.94', 'learning_rate': '2e-05', 'mean_token_accuracy': '0.61', 'epoch': '0.02'}",
    "axolotl": "[2024-05-01 10:00:00,123] [INFO] [axolotl.train:120] {'loss': 1.834, 'grad_norm': 0.94, 'learning_rate': 2e-05}",
    "unsloth": "  1%|          | 5/500 [00:14<23:11,  2.81s/it]{'loss': 1.834, 'grad_norm': 0.94, 'learning_rate': 2e-05}",
    "ms-swift": '{"loss": 1.834, "grad_norm": 0.94, "learning_rate": 2e-05, "global_step/max_steps": "601/2161", "memory(GiB)": 87.6}',
    "megatron": " iteration      100/  500000 | learning rate: 2.000E-05 | lm loss: 1.834000E+00 | loss scale: 65536.0 | grad norm: 0.94 |",
    "fairseq": "INFO | train_inner | epoch 001: 100 / 1200 loss=1.834, ppl=3.5, num_updates=100, lr=2e-05, gnorm=0.94, loss_scale=64",
    "mmengine": "06/27 08:41:09 - mmengine - INFO - Iter(train) [  10/1000]  lr: 2.0000e-05  time: 4.21  loss: 1.834  grad_norm: 0.94",
    "loguru": "2025-01-01 00:00:00.000 | INFO | train:main:10 - step=100 loss=1.834 lr=2.0e-5 grad_norm=0.94",
    "accelerate": "INFO step 100 loss: tensor(1.834, device='cuda:0') grad_norm: tensor(0.94) lr: 2e-05",
    "chinese": "第 100 步：损失 1.834，学习率 2e-5，梯度范数 0.94",
}


@pytest.mark.parametrize("tool", LINES)
def test_one_line_of_a_tool(tool: str) -> None:
    seen = read_text(LINES[tool])
    found = [seen.metric(name).values for name in ("loss", "grad_norm", "learning_rate")]
    assert found == [[1.834], [0.94], [2e-5]]


@pytest.mark.parametrize(
    ("line", "step"),
    [
        (LINES["ms-swift"], 601),
        (LINES["megatron"], 100),
        (LINES["fairseq"], 100),
        (LINES["mmengine"], 10),
        (LINES["chinese"], 100),
        (LINES["unsloth"], 5),
        ("1|25|Loss: 1.37: 100%|##########| 25/25 [00:41<00:00,  1.66s/it]", 25),
        ("Epoch 1 | iter 16 step 4 | loss train: 1.913, val: n/a", 16),
    ],
)
def test_the_step_of_a_line(line: str, step: int) -> None:
    assert read_text(line).metric("loss").steps == [step]


def test_deepspeed_tells_step_and_rate() -> None:
    line = "[INFO] [logging.py:96:log_dist] [Rank 0] step=10, skipped=4, lr=[9.65e-06], mom=[(0.9, 0.95)]"
    rate = read_text(line).metric("learning_rate")
    assert (rate.values, rate.steps) == ([9.65e-6], [10])


@pytest.mark.parametrize(
    "table",
    [
        "step,loss,eval_loss\n10,2.1,2.0\n20,1.9,nan",
        "Step\tTraining Loss\tValidation Loss\n10\t2.100000\t2.000000\n20\t1.900000\tnan",
        "| Step | Training Loss | Validation Loss |\n|---|---|---|\n| 10 | 2.1 | 2.0 |\n| 20 | 1.9 | nan |",
    ],
)
def test_tables(table: str) -> None:
    seen = read_text(f"some words\n\n{table}\n\nand more, of them")
    assert seen.metric("loss").values == [2.1, 1.9]
    assert seen.metric("loss").steps == [10, 20]
    assert math.isnan(seen.metric("eval_loss").values[1])


def test_a_comma_makes_no_table() -> None:
    assert read_text("loss, that is what I lost\n1, 2").metric("loss").values == []


@pytest.mark.parametrize("mark", ["[rank{}]: ", "[default{}]:", "[1,{}]<stdout>:", "{}: "])
def test_several_ranks_tell_one_curve(mark: str) -> None:
    lines = [
        f"{mark.format(rank)}{{'loss': {2.0 - step / 10 + rank}, 'step': {step}}}"
        for step in (1, 2)
        for rank in (0, 1)
    ]
    loss = read_text("\n".join(lines)).metric("loss")
    assert (loss.values, loss.steps) == ([1.9, 1.8], [1, 2])


def test_a_broken_number_of_another_rank_is_news() -> None:
    words = "[rank0]: step 1 loss 2.0\n[rank1]: step 1 loss nan"
    assert math.isnan(read_text(words).metric("loss").values[1])


TORCHRUN = """\
Traceback (most recent call last):
  File "train.py", line 3, in <module>
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
Traceback (most recent call last):
  File "/usr/bin/torchrun", line 8, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
train.py FAILED
------------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2025-01-01_00:00:00
  rank      : 3 (local_rank: 3)
  exitcode  : 1 (pid: 4242)
  error_file: <N/A>
============================================================
"""


def test_the_own_words_of_a_process_come_before_the_launchers() -> None:
    assert read_text(TORCHRUN).error.startswith("torch.OutOfMemoryError")
    assert "ChildFailedError" in read_text(TORCHRUN.split("\n", 3)[3]).error


def test_a_cut_trainer_state(tmp_path: Path) -> None:
    entries = [{"loss": 2.0 - i / 10, "step": 10 * (i + 1), "epoch": 0.1} for i in range(5)]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": entries}, indent=2)[:-60], encoding="utf-8")
    loss = read_path(path).metric("loss")
    assert loss.values == [2.0, 1.9, 1.8, 1.7]
    assert loss.steps == [10, 20, 30, 40]


def varint(number: int) -> bytes:
    parts = []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def framed(field: int, body: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(body)) + body


def scalar_event(step: int, tag: str, value: float, *, as_tensor: bool = False) -> bytes:
    """An event in protobuf's wire format, as TensorBoard writes it."""
    packed = struct.pack("<f", value)
    told = framed(8, b"\x08\x01" + framed(4, packed)) if as_tensor else b"\x15" + packed
    summary = framed(1, framed(1, tag.encode()) + told)
    return b"\x09" + struct.pack("<d", 1.7e9) + b"\x10" + varint(step) + framed(5, summary)


def event_file(folder: Path, events: list[bytes], tail: bytes = b"") -> Path:
    path = folder / "events.out.tfevents.1700000000.host.1.0"
    records = [struct.pack("<QI", len(e), 0) + e + struct.pack("<I", 0) for e in events]
    path.write_bytes(b"".join(records) + tail)
    return path


@pytest.mark.parametrize("as_tensor", [False, True])
def test_tensorboard_scalars(tmp_path: Path, *, as_tensor: bool) -> None:
    version = b"\x09" + struct.pack("<d", 1.7e9) + framed(3, b"brain.Event:2")
    events = [
        scalar_event(step, tag, value, as_tensor=as_tensor)
        for step, value in ((10, 2.0), (400, 1.5))
        for tag in ("train/loss", "train/learning_rate", "train/unknown")
    ]
    folder = tmp_path / "runs" / "Jan01"
    folder.mkdir(parents=True)
    path = event_file(folder, [version, *events])
    for place in (path, tmp_path):
        seen = read_path(place)
        assert seen.metric("loss").values == [2.0, 1.5]
        assert seen.metric("loss").steps == [10, 400]
        assert len(seen.metric("learning_rate")) == 2


@pytest.mark.parametrize(
    "tail",
    [b"\x05", struct.pack("<QI", 2**60, 0), struct.pack("<QI", 40, 0) + b"cut", b"\xff" * 64],
)
def test_a_damaged_event_file_gives_what_is_whole(tmp_path: Path, tail: bytes) -> None:
    path = event_file(tmp_path, [scalar_event(1, "loss", 2.0), scalar_event(2, "loss", 1.0)], tail)
    assert read_path(path).metric("loss").values == [2.0, 1.0]


def test_the_middle_of_a_huge_log_keeps_what_matters(tmp_path: Path) -> None:
    path = tmp_path / "train.log"
    noise = "node07 NCCL INFO Channel 00/0 : 0[0] via P2P/CUMEM\n" * 2000
    with path.open("w", encoding="utf-8") as stream:
        stream.write("accelerate launch train.py --learning_rate 3e-4\n")
        for step in range(150):
            value = "nan" if step == 70 else f"{2 - step / 100:.2f}"
            stream.write(f"{{'loss': {value}, 'step': {step}}}\n{noise}")
        stream.write("RuntimeError: the end\n")
    seen = read_path(path)
    assert len(text_of(path)) < 12 * 2**20
    assert seen.metric("loss").bad is not None
    assert len(seen.metric("loss")) > 100
    assert seen.config["learning_rate"] == "3e-4"
    assert seen.error == "RuntimeError: the end"
