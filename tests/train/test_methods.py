"""Every method on every shape: what moves is what was asked for, and nothing else does.

The count of what ought to move is made from the names and shapes of the saved weights alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers

from tests.train import shapes, tiny

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.train

R = 4
LATENT = ("q_a_proj", "q_b_proj", "q_proj", "kv_a_proj_with_mqa", "kv_b_proj", "o_proj")
PLAIN = ("q_proj", "k_proj", "v_proj", "o_proj")
MLP = ("gate_proj", "up_proj", "down_proj")
SPLIT = ("q_a_proj", "q_b_proj", "kv_proj", "o_b_proj")
MIXTURES = ("deepseek_v2", "deepseek_v3", "deepseek_v32", "deepseek_v4")

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A folder with a tiny model of any kind, made once."""
    made: dict[str, Path] = {}

    def get(kind: str) -> Path:
        if kind not in made:
            made[kind] = shapes.save(tmp_path_factory.mktemp(kind), kind)
        return made[kind]

    return get


def named_weights(folder: Path) -> Weights:
    """Return the weights as the model class names them (experts fused)."""
    model = transformers.AutoModelForCausalLM.from_pretrained(folder)
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def top_blocks(weights: Weights, last: int) -> set[str]:
    """Return the names in the last blocks, and the final normalisation."""
    number = re.compile(r"^model\.layers\.(\d+)\.")
    layers = 1 + max(int(found[1]) for name in weights if (found := number.match(name)))
    chosen = {n for n in weights if (m := number.match(n)) and int(m[1]) >= layers - last}
    return chosen | {n for n in weights if re.match(r"^model\.\w*norm\w*\.", n)}


def adapter_size(weights: Weights, wanted: tuple[str, ...], part: str) -> int:
    """Return the adapter weights for linear layers called `wanted` inside `part`, rank R."""
    total = 0
    for name, weight in weights.items():
        if ".indexer." in name or ".compressor." in name:
            continue
        leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
        if weight.dim() == 2 and part in name and leaf in wanted and ".layers." in f".{name}":
            total += R * sum(weight.shape)
    return total


def check_moved(before: Weights, after: Weights, moving: set[str]) -> None:
    """Check that exactly the parameters in `moving` differ."""
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved <= moving, sorted(moved - moving)
    # An expert that no token was sent to has no gradient; everything else moves.
    still = {name for name in moving - moved if ".experts." not in name}
    assert not still, sorted(still)


def train(
    folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, skill: str, **changes: Any
) -> tuple[Path, dict[str, Any]]:
    run = tiny.make_run(
        folder, skill, optim__max_steps=2, optim__warmup=0, evaluation__samples=0, **changes
    )
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    (audit,) = tiny.events(run, "audit")
    return run, dict(audit.payload)


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_full_moves_everything(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    run, audit = train(tmp_path, folders(kind), monkeypatch, "full-fine-tuning")
    assert audit["trainable"] == audit["total"] == sum(w.numel() for w in before.values())
    idle = {name for name in before if shapes.without_gradient(kind, name)}
    check_moved(before, named_weights(run / "result"), set(before) - idle)


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_freezing_moves_the_top_alone(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    run, audit = train(tmp_path, folders(kind), monkeypatch, "layer-freezing", params__train_last=1)
    moving = top_blocks(before, 1)
    assert audit["trainable"] == sum(before[name].numel() for name in moving)
    idle = {name for name in before if shapes.without_gradient(kind, name)}
    check_moved(before, named_weights(run / "result"), moving - idle)


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_freezing_moves_named_parts_alone(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    run, audit = train(
        tmp_path,
        folders(kind),
        monkeypatch,
        "layer-freezing",
        params__train_last=0,
        params__train_modules=["layers.1.input_layernorm", "layers.*.mlp"],
    )
    final = {n for n in before if re.match(r"^model\.\w*norm\w*\.", n)}
    moving = final | {n for n in before if ".mlp." in n or "layers.1.input_layernorm" in n}
    assert audit["trainable"] == sum(before[name].numel() for name in moving)
    idle = {name for name in before if shapes.without_gradient(kind, name)}
    check_moved(before, named_weights(run / "result"), moving - idle)


def test_a_part_that_is_not_there_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, "layer-freezing", params__train_modules=["o_porj"])
    assert tiny.train_here(monkeypatch, run, folders("llama")) == 1
    assert "o_proj" in tiny.ending(run)["text_en"]


def wanted_names(kind: str) -> tuple[str, ...]:
    if kind == "deepseek_v4":
        return SPLIT
    return LATENT if kind in MIXTURES else PLAIN


@pytest.mark.parametrize("variant", ["plain", "dora", "rslora"])
@pytest.mark.parametrize("kind", shapes.KINDS)
def test_lora_on_attention_counts_as_expected(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    variant: str,
) -> None:
    before = named_weights(folders(kind))
    flags = {} if variant == "plain" else {f"params__{variant}": True}
    run, audit = train(
        tmp_path,
        folders(kind),
        monkeypatch,
        "lora",
        params__targets="attention",
        params__r=R,
        **flags,
    )
    names = wanted_names(kind)
    expected = adapter_size(before, names, "self_attn")
    if variant == "dora":
        expected += sum(
            w.shape[0]
            for n, w in before.items()
            if "self_attn" in n
            and ".compressor." not in n
            and n.removesuffix(".weight").rsplit(".", 1)[-1] in names
        )
    assert audit["trainable"] == expected
    assert audit["total"] == expected + sum(w.numel() for w in before.values())
    adapter = tiny.weights(run / "result")
    trained = [w for n, w in adapter.items() if "lora_B" in n]
    assert trained
    assert all(w.abs().max() > 0 for w in trained)


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_lora_on_all_linear_layers_leaves_the_router_alone(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    _, audit = train(tmp_path, folders(kind), monkeypatch, "lora", params__r=R)
    names = wanted_names(kind)
    expected = adapter_size(before, names, "self_attn") + adapter_size(before, MLP, ".mlp.")
    for name, weight in before.items():
        if weight.dim() == 3 and ".experts." in name:
            expected += R * len(weight) * sum(weight.shape[1:])
    assert audit["trainable"] == expected
    assert not [n for n in audit["lora_targets"] if n.endswith(("mlp.gate", "gate.weight"))]


@pytest.mark.parametrize("kind", ["llama", "deepseek_v3"])
def test_checkpointing_changes_no_loss(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    plain, _ = train(tmp_path / "a", folders(kind), monkeypatch, "lora")
    again, _ = train(tmp_path / "b", folders(kind), monkeypatch, "lora", launch__checkpointing=True)
    assert tiny.losses(again) == pytest.approx(tiny.losses(plain), abs=1e-6)
