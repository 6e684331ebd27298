"""Batches joined into one row, and the products of layers and adapters: faster, and the same numbers."""

from __future__ import annotations

import random
import shutil
from array import array
from typing import TYPE_CHECKING, Any

import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from tests.train import shapes, tiny
from tutor_agent.core.changes import PlanChange, apply
from tutor_agent.core.plan import Plan
from tutor_agent.data.collate import Collator, one_each, pack
from tutor_agent.data.labels import IGNORED, Example
from tutor_agent.training import kernels
from tutor_agent.training import segments as cutting
from tutor_agent.training.losses import token_losses
from tutor_agent.training.segments import join_rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train
needs_onednn = pytest.mark.skipif(
    not torch.backends.mkldnn.is_available(), reason="this PyTorch comes without oneDNN"
)


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    return Plan.load(tiny.make_run(tmp_path / "plan") / "plan.yaml")


def examples(count: int = 9) -> list[Example]:
    drawn = random.Random(2)
    found = []
    for row in range(count):
        ids = [drawn.randrange(3, 24) for _ in range(drawn.randint(2, 40))]
        labels = [IGNORED, *(i if drawn.random() < 0.7 else IGNORED for i in ids[1:])]
        found.append(Example(array("l", ids), array("l", labels), row))
    return found


def loss_and_gradients(model: Any, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    body = model.get_base_model() if hasattr(model, "get_base_model") else model
    loss = token_losses(model, batch, body).total
    loss.backward()
    gradients = [p.grad.flatten().clone() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


def adapted(folder: Path, **settings: Any) -> Any:
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa")
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "o_proj", "down_proj"], **settings)
    model = get_peft_model(model, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2)
    return model.train()


@pytest.mark.parametrize("kind", [k for k in shapes.KINDS if k not in shapes.MIXES_PACKED])
def test_a_sample_is_the_same_in_a_joined_row_and_alone(
    tmp_path: Path, plan: Plan, kind: str
) -> None:
    shapes.save(tmp_path, kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="sdpa")
    alone = [loss_and_gradients(model, Collator(2)([item])) for item in one_each(examples())]
    assert join_rows(model, plan)
    joined = Collator(2, packed=True, flat=True)
    for items in (one_each(examples()), pack(examples(), length=80, seed=0)):
        batch = joined(items)
        assert batch["input_ids"].shape[0] == 1
        assert int(batch["tokens"]) == batch["input_ids"].numel()
        loss, gradient = loss_and_gradients(model, batch)
        assert loss == pytest.approx(sum(part for part, _ in alone), abs=2e-4)
        summed = torch.stack([part for _, part in alone]).sum(dim=0)
        torch.testing.assert_close(gradient, summed, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", shapes.MIXES_PACKED)
def test_rows_stay_apart_where_an_indexer_looks_across(
    tmp_path: Path, plan: Plan, kind: str
) -> None:
    shapes.save(tmp_path, kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path)
    assert not join_rows(model, plan)


@pytest.mark.parametrize(
    "change",
    [{"model__attention": "eager"}, {"model__compile": True}, {"launch__sharding": "fsdp2"}],
)
def test_rows_are_joined_only_where_it_was_asked_for_and_tried(
    llama: Path, plan: Plan, change: dict[str, Any]
) -> None:
    model = transformers.AutoModelForCausalLM.from_pretrained(llama)
    assert not join_rows(model, apply(plan, PlanChange.set(**change)))
    assert model.config._attn_implementation == "sdpa"


def test_a_window_of_attention_keeps_rows_apart(plan: Plan) -> None:
    config = transformers.AutoConfig.for_model(
        "mistral", vocab_size=24, sliding_window=8, **tiny.BASE
    )
    model = transformers.AutoModelForCausalLM.from_config(config)
    assert not join_rows(model, plan)


def test_rows_stay_apart_where_the_attention_never_hears_of_the_borders(
    llama: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan
) -> None:
    def deaf(*states: Any, segments: list[int] | None = None, **options: Any) -> Any:
        return sdpa_attention_forward(*states, **options)

    monkeypatch.setattr(cutting, "attend", deaf)
    model = transformers.AutoModelForCausalLM.from_pretrained(llama)
    assert not join_rows(model, plan)
    assert model.config._attn_implementation == "sdpa"


@needs_onednn
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("learns", [False, True])
def test_a_layer_gives_the_same_through_onednn(
    monkeypatch: pytest.MonkeyPatch, plan: Plan, *, bias: bool, learns: bool
) -> None:
    monkeypatch.setattr(kernels, "onednn_is_faster", lambda: True)
    torch.manual_seed(0)
    layer = torch.nn.Linear(48, 64, bias=bias).requires_grad_(learns)
    x = torch.randn(3, 11, 48, requires_grad=True)
    up = torch.randn(3, 11, 64)
    wanted = layer(x)
    (wanted * up).sum().backward()
    before = [tensor.grad for tensor in (x, *layer.parameters())]
    x.grad = None
    layer.zero_grad()
    assert kernels.hasten(layer, plan) == 1
    found = layer(x)
    (found * up).sum().backward()
    torch.testing.assert_close(found, wanted)
    for one, two in zip(before, (x, *layer.parameters()), strict=True):
        torch.testing.assert_close(two.grad, one)
    found.detach().add_(1)


@needs_onednn
@pytest.mark.parametrize(
    "settings",
    [{}, {"use_rslora": True}, {"use_dora": True}],
    ids=["plain", "rslora", "dora"],
)
def test_adapters_give_the_same_through_onednn(
    llama: Path, monkeypatch: pytest.MonkeyPatch, plan: Plan, settings: dict[str, Any]
) -> None:
    batch = Collator(2)(one_each(examples()))
    stock, fast = adapted(llama, **settings), adapted(llama, **settings)
    monkeypatch.setattr(kernels, "onednn_is_faster", lambda: True)
    assert kernels.hasten(fast, plan) > 0
    loss, gradient = loss_and_gradients(fast, batch)
    wanted, wanted_gradient = loss_and_gradients(stock, batch)
    assert loss == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(gradient, wanted_gradient, atol=1e-4, rtol=1e-3)
    assert list(fast.state_dict()) == list(stock.state_dict())
    merged, wanted_merged = fast.merge_and_unload(), stock.merge_and_unload()
    ids = batch["input_ids"]
    torch.testing.assert_close(merged(ids).logits, wanted_merged(ids).logits, atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("batching", ["random", "by_length"])
def test_two_processes_batch_alike(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, batching: str
) -> None:
    alone = tiny.make_run(tmp_path, name="alone", data__batching=batching)
    assert tiny.train_here(monkeypatch, alone, llama) == 0
    shutil.copy(tmp_path / "alone.jsonl", tmp_path / "pair.jsonl")
    shared: dict[str, Any] = {"launch__processes": 2, "optim__micro_batch": 2}
    pair = tiny.make_run(tmp_path, name="pair", data__batching=batching, **shared)
    assert tiny.start_ranks(pair, llama, 2).wait(timeout=240) == 0
    assert tiny.losses(pair) == pytest.approx(tiny.losses(alone), abs=2e-5)


def test_joined_rows_and_separate_rows_take_the_same_steps(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    joined = tiny.make_run(tmp_path, name="joined")
    shutil.copy(tmp_path / "joined.jsonl", tmp_path / "apart.jsonl")
    apart = tiny.make_run(tmp_path, name="apart", model__attention="eager")
    for run in (joined, apart):
        assert tiny.train_here(monkeypatch, run, llama) == 0
    assert tiny.losses(joined) == pytest.approx(tiny.losses(apart), abs=2e-5)
