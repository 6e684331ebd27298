"""Kernels, precisions and optimizers on a GPU give what the plain ones give, and losses that fall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import torch

from tests.gpu import midsize
from tests.train import tiny

if TYPE_CHECKING:
    from pathlib import Path

_SMALL = {
    "hidden_size": 256,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
}
_STEPS = 12
_NEAR = 0.02
"""How far bf16 products may move the mean loss of a step of a model at chance level (6.2)."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model whose heads are wide enough for every attention kernel."""
    return midsize.save_model(tmp_path_factory.mktemp("small"), **_SMALL)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, model: Path) -> dict[str, list[float]]:
    """Losses of both skills in fp32 with the plain kernels."""
    folder = tmp_path_factory.mktemp("plain")
    found = {}
    for skill in ("lora", "full-fine-tuning"):
        with pytest.MonkeyPatch.context() as patch:
            run = _run(folder, skill, {"model__dtype": "fp32", "model__attention": "eager"})
            assert tiny.train_here(patch, run, model) == 0, tiny.ending(run)
        found[skill] = tiny.losses(run)
    return found


def _run(folder: Path, skill: str, changes: dict[str, Any]) -> Path:
    fixed = {"optim__max_steps": _STEPS, "evaluation__every": _STEPS, "data__packing": True}
    return tiny.make_run(folder, skill, skill, **fixed, **changes)


def _only_if(name: str) -> None:
    package = midsize.lacking(name)
    if package:
        pytest.skip(f"{package} is not installed")
    if name == "flash" and torch.cuda.get_device_capability() < (8, 0):
        pytest.skip("FlashAttention 2 needs compute capability 8.0")


@pytest.mark.parametrize(
    ("name", "skill", "changes"),
    [
        ("bf16", "lora", {"model__dtype": "bf16"}),
        ("bf16", "full-fine-tuning", {"model__dtype": "bf16"}),
        ("fp16", "lora", {"model__dtype": "fp16"}),
        ("sdpa", "lora", {"model__dtype": "fp32"}),
        ("flash", "lora", {"model__attention": "flash"}),
        ("flash", "full-fine-tuning", {"model__attention": "flash"}),
        ("flex", "lora", {"model__attention": "flex"}),
        ("flex", "full-fine-tuning", {"model__attention": "flex"}),
        ("liger", "lora", {"model__liger": True}),
        ("liger", "full-fine-tuning", {"model__liger": True}),
        ("compile", "lora", {"model__compile": True}),
        ("compile", "full-fine-tuning", {"model__compile": True}),
        ("checkpointing", "lora", {"launch__checkpointing": True}),
        ("checkpointing", "full-fine-tuning", {"launch__checkpointing": True}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_kernel_learns_what_the_plain_one_learns(
    tmp_path: Path,
    model: Path,
    plain: dict[str, list[float]],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    skill: str,
    changes: dict[str, Any],
) -> None:
    _only_if(name)
    run = _run(tmp_path, skill, changes)
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    found = tiny.losses(run)
    # A fp16 scaler may leave out its first steps, after which the two no longer walk together.
    compared = 1 if name == "fp16" else _STEPS
    assert found[:compared] == pytest.approx(plain[skill][:compared], abs=_NEAR)
    assert found[-1] < found[0]


@pytest.mark.parametrize("attention", ["sdpa", "flash", "flex", "eager"])
def test_a_packed_sample_has_the_loss_it_has_alone(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, attention: str
) -> None:
    """The first step of a run whose one batch is the whole file, packed and padded."""
    _only_if(attention)
    found = []
    for packing in (False, True):
        run = tiny.make_run(
            tmp_path,
            "lora",
            f"packing-{packing}".lower(),
            model__attention=attention if packing else "eager",
            data__packing=packing,
            optim__max_steps=1,
            optim__micro_batch=64,
            evaluation__every=1,
        )
        assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
        (step,) = tiny.events(run, "step")
        found.append((step.number("tokens"), step.number("loss")))
    (tokens, alone), (packed_tokens, packed) = found
    assert packed_tokens == tokens
    assert packed == pytest.approx(alone, abs=_NEAR)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_adapters_on_packed_weights_learn_and_resume(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, kind: str, *, checkpointing: bool
) -> None:
    _only_if(kind)
    params = {"r": 8, "alpha": 16, "targets": "all-linear", "quantization": kind}
    changes = {"params": params, "launch__checkpointing": checkpointing, "evaluation__every": 6}
    run = tiny.make_run(tmp_path, "lora", "packed", optim__max_steps=_STEPS, **changes)
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    found = tiny.losses(run)
    assert found[-1] < found[0]
    adapter = tiny.weights(run / "result")
    assert all(tensor.dtype == torch.float32 for tensor in adapter.values())
    assert any("lora_B" in name and bool(tensor.any()) for name, tensor in adapter.items())
    start = run / "checkpoints" / "checkpoint-6"
    (run / "events.jsonl").unlink()
    assert tiny.train_here(monkeypatch, run, model, start) == 0, tiny.ending(run)
    assert tiny.losses(run) == pytest.approx(found[6:], abs=_NEAR)


@pytest.mark.parametrize("optimizer", ["adamw_8bit", "paged_adamw_8bit", "adafactor", "sgd"])
def test_an_optimizer_learns(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    _only_if(optimizer)
    rate = 0.5 if optimizer == "sgd" else 2e-3
    changes = {"optim__optimizer": optimizer, "optim__learning_rate": rate}
    run = _run(tmp_path, "full-fine-tuning", changes)
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    found = tiny.losses(run)
    assert found[-1] < found[0] - 0.1


def test_the_switch_for_determinism_gives_the_same_bits_twice(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for name in ("first", "second"):
        run = _run(tmp_path / name, "full-fine-tuning", {"optim__deterministic": True})
        assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
        found.append((tiny.losses(run), tiny.weights(run / "result")))
    (losses, one), (again, two) = found
    assert losses == again
    assert all(torch.equal(one[name], two[name]) for name in one)
