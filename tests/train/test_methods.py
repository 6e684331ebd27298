"""Every method on every shape: what moves is what was asked for, and nothing else does.

The count of what ought to move is made from the names and shapes of the saved weights alone.
"""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import peft
import pytest
import torch
import transformers

from tests.train import shapes, tiny
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.core.plan import Plan
from tutor_agent.training import adapters
from tutor_agent.training.model import load_model

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.train

R = 4
ATTENTION = (
    "q_a_proj",
    "q_b_proj",
    "q_proj",
    "k_proj",
    "v_proj",
    "kv_a_proj_with_mqa",
    "kv_b_proj",
)
ATTENTION += ("o_proj", "kv_proj", "o_b_proj")
EVERY = (*ATTENTION, "o_a_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj")

Weights = dict[str, torch.Tensor]


def load(folder: Path) -> Any:
    return transformers.AutoModelForCausalLM.from_pretrained(folder)


def named_weights(folder: Path) -> Weights:
    """Return the weights as the model class names them (experts fused)."""
    return {name: parameter.detach() for name, parameter in load(folder).named_parameters()}


def top_blocks(weights: Weights, last: int) -> set[str]:
    """Return the names in the last blocks, and the final normalisation."""
    number = re.compile(r"^model\.layers\.(\d+)\.")
    layers = 1 + max(int(found[1]) for name in weights if (found := number.match(name)))
    chosen = {n for n in weights if (m := number.match(n)) and int(m[1]) >= layers - last}
    return chosen | {n for n in weights if re.match(r"^model\.\w*norm\w*\.", n)}


def idle(kind: str, weights: Weights) -> set[str]:
    return {name for name in weights if shapes.without_gradient(kind, name)}


def adapted(weights: Weights, leaves: tuple[str, ...], *, compressor: bool) -> Weights:
    """Return the weights in blocks whose layer is one of `leaves`; indexers and routers never are."""
    found: Weights = {}
    for name, weight in weights.items():
        leaf = name.removesuffix(".weight").rsplit(".", 1)[-1]
        skipped = ".indexer." in name or (".compressor." in name and not compressor)
        if ".layers." in name and leaf in leaves and weight.dim() > 1 and not skipped:
            found[name] = weight
    return found


def adapter_size(weights: Weights) -> int:
    """Return the weights of adapters of rank R on `weights`; fused experts have one each."""
    copies = {name: w.shape[0] if w.dim() == 3 else 1 for name, w in weights.items()}
    return sum(R * copies[name] * sum(w.shape[-2:]) for name, w in weights.items())


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
    steps = {"optim__max_steps": 2, "optim__warmup": 0, "evaluation__samples": 0}
    run = tiny.make_run(folder, skill, **{**steps, **changes})
    assert tiny.train_here(monkeypatch, run, model) == 0, tiny.ending(run)
    (audit,) = tiny.events(run, "audit")
    return run, dict(audit.payload)


def refusal(folder: Path, model: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> str:
    """Return what a run that is refused says, in both languages."""
    run = tiny.make_run(folder, changes.pop("skill", "lora"), **changes)
    assert tiny.train_here(monkeypatch, run, model) == 1
    ending = tiny.ending(run)
    return f"{ending['text_en']} {ending['text_zh']}"


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_full_moves_all_that_the_loss_reaches(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    run, audit = train(tmp_path, folders(kind), monkeypatch, "full-fine-tuning")
    moving = set(before) - idle(kind, before)
    assert audit["total"] == sum(w.numel() for w in before.values())
    assert audit["trainable"] == sum(before[name].numel() for name in moving)
    check_moved(before, named_weights(run / "result"), moving)
    noted = [e for e in tiny.events(run, "note") if "indexer" in str(e.payload["text_en"])]
    assert bool(noted) == bool(idle(kind, before))


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_freezing_moves_the_top_alone(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
) -> None:
    before = named_weights(folders(kind))
    run, audit = train(tmp_path, folders(kind), monkeypatch, "layer-freezing", params__train_last=1)
    moving = top_blocks(before, 1) - idle(kind, before)
    assert audit["trainable"] == sum(before[name].numel() for name in moving)
    check_moved(before, named_weights(run / "result"), moving)


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
    moving = {n for n in before if ".mlp." in n or "layers.1.input_layernorm" in n}
    assert audit["trainable"] == sum(before[name].numel() for name in moving)
    check_moved(before, named_weights(run / "result"), moving)


@pytest.mark.parametrize("variant", ["plain", "dora", "rslora", "every"])
@pytest.mark.parametrize("kind", shapes.KINDS)
def test_lora_moves_its_adapters_alone(
    tmp_path: Path,
    folders: Callable[[str], Path],
    wrapped: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    variant: str,
) -> None:
    before = named_weights(folders(kind))
    targets = "all-linear" if variant == "every" else "attention"
    flags = {f"params__{variant}": True} if variant in {"dora", "rslora"} else {}
    run, audit = train(
        tmp_path, folders(kind), monkeypatch, "lora", params__targets=targets, params__r=R, **flags
    )
    every = variant == "every"
    chosen = adapted(before, EVERY if every else ATTENTION, compressor=every)
    expected = adapter_size(chosen)
    expected += sum(w.shape[0] for w in chosen.values()) if variant == "dora" else 0
    assert audit["trainable"] == expected
    assert audit["total"] == expected + sum(w.numel() for w in before.values())
    owners = {re.sub(r"\.(weight|gate_up_proj|down_proj)$", "", name) for name in chosen}
    assert set(audit["lora_targets"]) == owners

    (model,) = wrapped
    held = {n: p for n, p in model.named_parameters() if ".lora_" not in n}
    plain = {
        n.removeprefix("base_model.model.").replace(".base_layer", ""): p for n, p in held.items()
    }
    assert plain.keys() == before.keys()
    assert all(torch.equal(plain[name], before[name]) for name in before)
    moved = [p for n, p in model.named_parameters() if ".lora_B" in n]
    assert moved
    assert all(p.abs().max() > 0 for p in moved)
    check_reload(model, folders(kind), run / "result")


def check_reload(model: Any, base: Path, result: Path) -> None:
    """Check that the saved adapter gives the trained model back, beside its base and merged into it."""
    ids = torch.randint(5, 20, (2, 24), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        trained = model.eval()(input_ids=ids).logits
        again = peft.PeftModel.from_pretrained(load(base), result).eval()
        held = dict(model.named_parameters())
        saved = {name: p for name, p in again.named_parameters() if ".lora_" in name}
        assert saved
        assert all(torch.equal(held[name], p) for name, p in saved.items())
        # Kernels chosen for speed round otherwise than PyTorch's own.
        torch.testing.assert_close(again(input_ids=ids).logits, trained, atol=1e-5, rtol=1e-4)
        merged = again.merge_and_unload()
        assert not any("lora" in name for name, _ in merged.named_parameters())
        torch.testing.assert_close(merged(input_ids=ids).logits, trained, atol=1e-5, rtol=1e-4)
        assert not torch.allclose(load(base)(input_ids=ids).logits, trained, atol=1e-4)


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning", "layer-freezing"])
@pytest.mark.parametrize("kind", ["llama", "deepseek_v3"])
def test_checkpointing_changes_nothing(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    skill: str,
) -> None:
    plain, _ = train(tmp_path / "a", folders(kind), monkeypatch, skill)
    again, _ = train(tmp_path / "b", folders(kind), monkeypatch, skill, launch__checkpointing=True)
    assert tiny.losses(again) == pytest.approx(tiny.losses(plain), abs=1e-6)
    left, right = tiny.weights(plain / "result"), tiny.weights(again / "result")
    assert all(torch.allclose(left[name], right[name], atol=1e-6) for name in left)


@pytest.mark.parametrize("skill", ["lora", "full-fine-tuning", "layer-freezing"])
def test_what_moves_is_fp32_whatever_the_products_are(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    skill: str,
) -> None:
    run, audit = train(tmp_path, folders("deepseek_v3"), monkeypatch, skill, model__dtype="bf16")
    assert audit["dtypes"] == {"float32": audit["trainable"]}
    assert all(w.dtype is torch.float32 for w in tiny.weights(run / "result").values())


def test_a_name_means_one_kind_of_layer(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = folders("deepseek_v3")
    wanted = ["gate_proj", "shared_experts.up_proj", "experts.up_proj"]
    run, audit = train(tmp_path, model, monkeypatch, "lora", params__targets=wanted, params__r=R)
    before = named_weights(model)
    chosen = {
        name: w
        for name, w in before.items()
        if name.endswith(("shared_experts.up_proj.weight", "experts.gate_up_proj"))
        or re.search(r"layers\.\d+\.mlp\.gate_proj", name)
    }
    assert audit["trainable"] == adapter_size(chosen)
    notes = " ".join(str(e.payload["text_en"]) for e in tiny.events(run, "note"))
    assert "shared_experts.gate_proj" in notes
    assert "one tensor" in notes


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("llama", "q_porj", "'q_proj'"),
        ("deepseek_v3", "v_proj", "kv_b_proj"),
        ("deepseek_v3", "gate", "router"),
        ("deepseek_v32", "wq_b", "indexer"),
        ("deepseek_v4", "gate_proj", "shared_experts.gate_proj"),
    ],
)
def test_a_target_that_gets_nothing_is_refused(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    target: str,
    said: str,
) -> None:
    text = refusal(tmp_path, folders(kind), monkeypatch, params__targets=[target])
    assert repr(target) in text
    assert said in text


@pytest.mark.filterwarnings("ignore:The following")
def test_a_target_that_peft_rewrites_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(model: Any, config: peft.LoraConfig) -> Any:
        config.target_modules, config.target_parameters = "all-linear", None
        return peft.get_peft_model(model, config)

    monkeypatch.setattr(adapters, "get_peft_model", careless)
    text = refusal(tmp_path, folders("deepseek_v3"), monkeypatch, params__targets="all-linear")
    assert "model.layers.0.mlp.down_proj (0 /" in text
    assert "'attention'" in text


def test_a_weight_of_the_model_that_moves_beside_adapters_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(model: Any, config: peft.LoraConfig) -> Any:
        wrapped = peft.get_peft_model(model, config)
        model.model.norm.weight.requires_grad_(True)
        return wrapped

    monkeypatch.setattr(adapters, "get_peft_model", careless)
    assert "model.norm.weight" in refusal(tmp_path, folders("llama"), monkeypatch)


def test_a_part_that_is_not_there_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = refusal(
        tmp_path,
        folders("llama"),
        monkeypatch,
        skill="layer-freezing",
        params__train_modules=["o_porj"],
    )
    assert "o_proj" in text


def test_freezing_everything_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tiny.make_run(tmp_path, "layer-freezing", params__train_last=0)
    tiny.train_here(monkeypatch, run, folders("llama"))
    assert tiny.ending(run)["reason"] == "nothing_trainable"
    assert "train_modules" in tiny.ending(run)["text_en"]


@pytest.mark.parametrize(
    ("kind", "attention", "said"),
    [
        ("llama", "flex", "CUDA"),
        ("llama", "flash", "CUDA"),
        ("deepseek_v32", "flex", "DeepseekV32ForCausalLM"),
        ("deepseek_v4", "flash", "DeepseekV4ForCausalLM"),
    ],
)
@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens on a CPU")
def test_an_attention_kernel_that_is_not_there_is_refused(
    tmp_path: Path,
    folders: Callable[[str], Path],
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    attention: str,
    said: str,
) -> None:
    text = refusal(tmp_path, folders(kind), monkeypatch, model__attention=attention)
    assert said in text
    assert "'sdpa'" in text


@pytest.mark.skipif(find_spec("flash_attn") is not None, reason="flash-attn is installed")
def test_flash_without_its_package_is_refused(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: True)
    plan = Plan.load(tiny.make_run(tmp_path, model__attention="flash") / "plan.yaml")
    with pytest.raises(NotPossibleError, match="pip install flash-attn"):
        load_model(plan, folders("llama"), torch.float32)


@pytest.mark.parametrize("kind", ["llama", "deepseek_v3"])
def test_attention_kernels_agree(
    tmp_path: Path, folders: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    found = []
    for attention in ("sdpa", "eager"):
        run, _ = train(
            tmp_path / attention, folders(kind), monkeypatch, "lora", model__attention=attention
        )
        found.append(tiny.losses(run))
    assert found[0] == pytest.approx(found[1], rel=1e-5)
