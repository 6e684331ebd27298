"""Packed samples do not read each other, and batches by length hold every sample once."""

from __future__ import annotations

import random
from array import array
from typing import TYPE_CHECKING

import pytest
import torch
import transformers
from transformers.modeling_outputs import CausalLMOutput

from tests.train import shapes, tiny
from tutor_agent.data.collate import Collator, Items, one_each, pack
from tutor_agent.data.labels import IGNORED, Example
from tutor_agent.data.order import ByLength
from tutor_agent.training.losses import token_losses

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


def examples(count: int = 9, vocabulary: int = 24) -> list[Example]:
    drawn = random.Random(1)
    found = []
    for row in range(count):
        ids = [drawn.randrange(3, vocabulary) for _ in range(drawn.randint(4, 21))]
        labels = [IGNORED, *ids[1:]]
        found.append(Example(array("l", ids), array("l", labels), row))
    return found


def loss_and_gradient(
    model: torch.nn.Module, collate: Collator, items: list[tuple[Example, ...]]
) -> tuple[float, torch.Tensor]:
    model.zero_grad()
    loss = token_losses(model, collate(items), model).total
    loss.backward()
    gradients = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return loss.item(), torch.cat(gradients)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("kind", [k for k in shapes.KINDS if k not in shapes.MIXES_PACKED])
def test_a_sample_is_the_same_packed_or_alone(tmp_path: Path, kind: str, attention: str) -> None:
    shapes.save(tmp_path, kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path, attn_implementation=attention
    )
    model.train()
    all_of_them = examples()
    alone = [loss_and_gradient(model, Collator(2), [item]) for item in one_each(all_of_them)]
    packed = pack(all_of_them, length=48, seed=0)
    assert max(len(item) for item in packed) > 1
    loss, gradient = loss_and_gradient(model, Collator(2, packed=True), packed)
    assert loss == pytest.approx(sum(part for part, _ in alone), abs=2e-4)
    summed = torch.stack([part for _, part in alone]).sum(dim=0)
    torch.testing.assert_close(gradient, summed, atol=2e-4, rtol=1e-3)
    one_row = Collator(2, packed=True, flat=True)
    assert loss_and_gradient(model, one_row, packed)[0] == pytest.approx(loss, abs=2e-4)


@pytest.mark.parametrize("kind", shapes.KINDS)
def test_a_sample_is_the_same_padded_or_alone(tmp_path: Path, kind: str) -> None:
    shapes.save(tmp_path, kind)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager")
    items = one_each(examples())
    alone = [loss_and_gradient(model, Collator(2), [item]) for item in items]
    loss, gradient = loss_and_gradient(model, Collator(2), items)
    # Rounding decides between equally good tokens where only the best few are attended to.
    picky = kind in shapes.MIXES_PACKED
    assert loss == pytest.approx(sum(part for part, _ in alone), abs=5e-3 if picky else 2e-4)
    if picky:
        return
    summed = torch.stack([part for _, part in alone]).sum(dim=0)
    torch.testing.assert_close(gradient, summed, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("kind", shapes.MIXES_PACKED)
def test_packing_is_refused_where_samples_would_read_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    run = tiny.make_run(tmp_path, data__packing=True)
    assert tiny.train_here(monkeypatch, run, shapes.save(tmp_path / "model", kind)) == 1
    assert "data.packing" in tiny.ending(run)["text_en"]


def test_the_loss_is_that_of_torch_and_so_is_its_gradient() -> None:
    torch.manual_seed(0)
    weights = torch.randn(32, 24, requires_grad=True)
    ids = torch.randint(0, 24, (3, 11))
    targets = torch.where(torch.rand(3, 11) < 0.3, IGNORED, ids)

    class Head(torch.nn.Module):
        config = transformers.LlamaConfig()

        def forward(self, input_ids: torch.Tensor, **_: object) -> object:
            hidden = torch.nn.functional.one_hot(input_ids, 32).float()
            return CausalLMOutput(logits=hidden @ weights)

    head = Head()
    token_losses(head, {"input_ids": ids, "labels": targets}, head).total.backward()
    ours = weights.grad
    weights.grad = None
    logits = head(ids).logits[:, :-1]
    plain = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1), targets[:, 1:].flatten(), ignore_index=IGNORED, reduction="sum"
    )
    plain.backward()
    torch.testing.assert_close(ours, weights.grad)


def test_batches_by_length_hold_every_sample_once_in_an_order_of_seed_and_epoch() -> None:
    items = Items(one_each(examples(101)), multiple=8, filling=2)
    order = ByLength(items.lengths, batch=8, seed=3)
    first = list(order)
    assert sorted(first) == list(range(len(items)))
    assert list(ByLength(items.lengths, batch=8, seed=3)) == first
    assert list(ByLength(items.lengths, batch=8, seed=4)) != first
    order.set_epoch(1)
    assert list(order) != first
    assert sorted(order) == list(range(len(items)))
    widths = [items.lengths[i] for i in first]
    groups = [widths[i : i + 8] for i in range(0, len(widths), 8)]
    assert max(groups[0]) == max(widths)
    padded = sum(8 * max(group) for group in groups)
    random_order = random.Random(0).sample(widths, len(widths))
    unsorted = sum(8 * max(random_order[i : i + 8]) for i in range(0, len(widths), 8))
    assert padded < 0.8 * unsorted


@pytest.mark.parametrize("batching", ["random", "by_length"])
def test_runs_by_length_learn(
    tmp_path: Path, llama: Path, monkeypatch: pytest.MonkeyPatch, batching: str
) -> None:
    run = tiny.make_run(tmp_path, data__batching=batching, optim__max_steps=20)
    assert tiny.train_here(monkeypatch, run, llama) == 0
    losses = tiny.losses(run)
    assert sum(losses[-3:]) < sum(losses[:3])
