"""Adapters on packed weights: they learn where bitsandbytes is, and are refused clearly where it is not."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from tests.train import shapes, tiny
from tutor_agent.training.quantised import PACKED

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.train

_INT8 = ("llama", "deepseek_v2_lite", "deepseek_v3", "deepseek_v4")

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


@needs_bitsandbytes
@pytest.mark.parametrize(
    ("kind", "packing"),
    [*((kind, "nf4") for kind in shapes.KINDS), *((kind, "int8") for kind in _INT8)],
)
def test_adapters_learn_on_packed_weights(
    tmp_path: Path,
    folders: Callable[[str], Path],
    wrapped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    packing: str,
) -> None:
    run = tiny.make_run(
        tmp_path, params__quantization=packing, params__targets="attention", optim__max_steps=8
    )
    assert tiny.train_here(monkeypatch, run, folders(kind)) == 0, tiny.ending(run)
    losses = tiny.losses(run)
    assert losses[-1] < losses[0]
    (audit,) = tiny.events(run, "audit")
    before: Any = transformers.AutoModelForCausalLM.from_pretrained(folders(kind))
    assert audit.number("total") == before.num_parameters() + (audit.number("trainable") or 0)
    adapter = load_file(run / "result" / "adapter_model.safetensors")
    assert sum(weight.numel() for weight in adapter.values()) == audit.number("trainable")
    assert all(weight.dtype is torch.float32 for weight in adapter.values())
    (note,) = [e for e in tiny.events(run, "note") if packing in str(e.payload["text_en"])]

    # The packed weights did not move: they still unpack to the rounded weights of the base.
    (model,) = wrapped
    packed = {
        name.removeprefix("base_model.model.").removesuffix(".base_layer"): module
        for name, module in model.named_modules()
        if type(module).__name__ in PACKED
    }
    assert packed
    share = (
        sum(before.get_submodule(name).weight.numel() for name in packed) / before.num_parameters()
    )
    assert f"{share:.0%}" in str(note.payload["text_en"])
    for name, module in packed.items():
        base = before.get_submodule(name).weight.detach()
        torch.testing.assert_close(unpacked(module), repacked(base, packing), atol=0, rtol=0)


def unpacked(module: Any) -> torch.Tensor:
    """Return what a packed layer holds, as it is stored."""
    weight = module.weight
    if type(module).__name__ == "Linear4bit":
        return functional().dequantize_4bit(weight.data, weight.quant_state)
    return module.state.CB if module.state.CB is not None else weight.data


def repacked(weight: torch.Tensor, packing: str) -> torch.Tensor:
    """Return a plain weight after packing, as `unpacked` does."""
    if packing == "int8":
        return functional().int8_vectorwise_quant(weight.half())[0]
    data, state = functional().quantize_4bit(
        weight, quant_type="nf4", compress_statistics=True, quant_storage=torch.uint8
    )
    return functional().dequantize_4bit(data, state)


def functional() -> Any:
    return importlib.import_module("bitsandbytes.functional")


@needs_bitsandbytes
def test_experts_and_their_neighbours_are_adapted_unpacked_alone(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, params__quantization="nf4", params__targets="all-linear")
    assert tiny.train_here(monkeypatch, run, folders("deepseek_v3")) == 1
    assert "params.targets to 'attention'" in tiny.ending(run)["text_en"]
    named = {"params__targets": ["experts.down_proj", "o_proj"], "optim__max_steps": 2}
    again = tiny.make_run(tmp_path, name="again", params__quantization="nf4", **named)
    assert tiny.train_here(monkeypatch, again, folders("deepseek_v3")) == 0, tiny.ending(again)


@needs_bitsandbytes
@pytest.mark.parametrize("packing", ["nf4", "int8"])
def test_gradients_pass_through_packed_layers_after_an_evaluation(
    tmp_path: Path,
    llama: Path,
    wrapped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    packing: str,
) -> None:
    run = tiny.make_run(tmp_path, params__quantization=packing, optim__max_steps=2)
    assert tiny.train_here(monkeypatch, run, llama) == 0, tiny.ending(run)
    (model,) = wrapped
    inputs = torch.randn(1, 3, 32, requires_grad=True)
    layer = model.get_base_model().model.layers[0].self_attn.q_proj.base_layer
    layer.train()(inputs).sum().backward()
    assert inputs.grad is not None
    assert torch.isfinite(inputs.grad).all()
    assert inputs.grad.abs().max() > 0
