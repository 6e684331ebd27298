"""Adapters on packed weights: they learn where bitsandbytes is, and are refused clearly where it is not."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train

needs_bitsandbytes = pytest.mark.skipif(
    find_spec("bitsandbytes") is None, reason="bitsandbytes is not installed (extra `quantization`)"
)


def test_without_bitsandbytes_the_way_out_is_named(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    run = tiny.make_run(tmp_path, params__quantization="nf4")
    assert tiny.train_here(monkeypatch, run, llama) == 1
    assert "pip install bitsandbytes" in tiny.ending(run)["text_en"]


def test_packed_weights_are_not_sharded(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", sys)
    monkeypatch.setattr(sys, "__spec__", pytest, raising=False)
    run = tiny.make_run(tmp_path, params__quantization="int8", launch__sharding="fsdp2")
    assert tiny.train_here(monkeypatch, run, llama) == 1
    assert "launch.sharding" in tiny.ending(run)["text_en"]


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """A Llama whose rows are whole blocks of 64 weights."""
    torch.manual_seed(0)
    tokens = tiny.tokenizer()
    config = transformers.LlamaConfig(
        vocab_size=len(tokens),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        eos_token_id=tokens.eos_token_id,
    )
    transformers.LlamaForCausalLM(config).save_pretrained(tmp_path / "wide")
    tokens.save_pretrained(tmp_path / "wide")
    return tmp_path / "wide"


@needs_bitsandbytes
@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_adapters_learn_on_packed_weights(
    tmp_path: Path, wide: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run = tiny.make_run(tmp_path, params__quantization=kind, optim__max_steps=12)
    assert tiny.train_here(monkeypatch, run, wide) == 0, tiny.ending(run)
    losses = tiny.losses(run)
    assert losses[-1] < losses[0]
    (audit,) = tiny.events(run, "audit")
    plain = transformers.AutoModelForCausalLM.from_pretrained(wide).num_parameters()
    assert audit.payload["total"] == plain + audit.payload["trainable"]
    adapter = load_file(run / "result" / "adapter_model.safetensors")
    assert all(weight.dtype is torch.float32 for weight in adapter.values())
    (note,) = [e for e in tiny.events(run, "note") if kind in str(e.payload["text_en"])]
    assert "%" in str(note.payload["text_en"])


@needs_bitsandbytes
def test_a_layer_that_the_kernel_cannot_take_is_named(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, params__quantization="nf4")
    if torch.cuda.is_available():
        assert tiny.train_here(monkeypatch, run, llama) == 0
    else:
        assert tiny.train_here(monkeypatch, run, llama) == 1
        assert "multiple of 64" in tiny.ending(run)["text_en"]
