"""What the model reads and learns: splits, templates, labels, packing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch

from tests.assets import write_csv, write_jsonl
from tests.train import tiny
from tutor_agent.core.errors import HaltedError, NotPossibleError, UnreadableError
from tutor_agent.core.plan import DataChoice
from tutor_agent.core.samples import Message, Sample
from tutor_agent.data.audit import audit_labels, refuse_unlearnable
from tutor_agent.data.collate import Collator, Items, one_each, pack
from tutor_agent.data.labels import IGNORED, Encoder, Example
from tutor_agent.data.load import SourceRow, load_rows
from tutor_agent.data.split import split_rows, without
from tutor_agent.data.template import end_tokens, ensure_template, render
from tutor_agent.training.losses import token_losses

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


def _chat(*turns: str) -> Sample:
    roles = ["user", "assistant"] * len(turns)
    pairs = zip(roles, turns, strict=False)
    return Sample(messages=tuple(Message(role=r, content=c) for r, c in pairs))


def _encode(sample: Sample, *, length: int = 64, supervise: str = "assistant") -> Example:
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), length, supervise)
    (example,) = encoder.encode_row(SourceRow(1, sample))
    return example


def _learnt(example: Example) -> str:
    return tiny.tokenizer().decode([label for label in example.labels if label != IGNORED])


def test_only_answers_and_their_ends_carry_loss() -> None:
    example = _encode(_chat("what red", "blue", "what green", "small large"))
    assert _learnt(example) == "blue <|im_end|> small large <|im_end|>"
    assert example.ended


@pytest.mark.parametrize(
    ("supervise", "expected"),
    [
        ("last", "large <|im_end|>"),
        ("all", "user : red <|im_end|> <|im_start|> assistant : large <|im_end|>"),
    ],
)
def test_the_plan_chooses_what_carries_loss(supervise: str, expected: str) -> None:
    assert _learnt(_encode(_chat("red", "large"), supervise=supervise)) == expected


def test_the_end_is_learnt_although_it_is_the_padding_token() -> None:
    examples = [_encode(_chat("red", "blue")), _encode(_chat("what goes with red", "blue"))]
    pad = tiny.tokenizer().pad_token_id
    batch = Collator(pad)(one_each(examples))
    assert pad == tiny.tokenizer().eos_token_id
    assert (batch["labels"] == pad).sum(dim=1).tolist() == [1, 1]


def test_a_long_sample_is_cut_at_the_prompt_and_keeps_its_end() -> None:
    whole = _encode(_chat(" ".join(["red"] * 40), "blue green"))
    cut = _encode(_chat(" ".join(["red"] * 40), "blue green"), length=16)
    assert len(cut.ids) == 16
    assert cut.truncated
    assert _learnt(cut) == _learnt(whole) == "blue green <|im_end|>"
    assert cut.ids[0] == tiny.tokenizer().bos_token_id


def test_long_text_becomes_several_examples_with_one_end() -> None:
    encoder = Encoder.for_tokenizer(tiny.tokenizer(), 16, "assistant")
    pieces = encoder.encode_row(SourceRow(1, Sample(text=" ".join(["red"] * 40))))
    assert [len(piece.ids) for piece in pieces] == [16, 16, 9]
    assert [piece.ended for piece in pieces] == [False, False, True]


def test_a_tokenizer_without_a_template_gets_one_of_its_own_tokens() -> None:
    tokens = tiny.tokenizer(template=None)
    size = len(tokens)
    assert ensure_template(tokens) == "chatml"
    assert len(tokens) == size
    assert ensure_template(tokens) is None
    assert end_tokens(tokens)[0] == tokens.convert_tokens_to_ids("<|im_end|>")


def test_a_tokenizer_without_an_end_is_refused() -> None:
    tokens = tiny.tokenizer()
    tokens.eos_token = None
    with pytest.raises(NotPossibleError, match="end-of-sequence"):
        ensure_template(tokens)


def test_a_template_without_an_end_gets_one() -> None:
    tokens = tiny.tokenizer(template="{% for m in messages %}{{ m['content'] }} : {% endfor %}")
    encoder = Encoder.for_tokenizer(tokens, 64, "assistant")
    (example,) = encoder.encode_row(SourceRow(1, _chat("red", "blue")))
    assert example.ids[-1] == example.labels[-1] == tokens.eos_token_id


def test_a_reasoning_template_trains_on_the_prompt_that_inference_uses() -> None:
    template = (
        "{% for m in messages %}<|im_start|> {{ m['role'] }} : "
        "{{ m['content'].split('</think>')[-1] }} <|im_end|> {% endfor %}"
        "{% if add_generation_prompt %}<|im_start|> assistant : <think>\n{% endif %}"
    )
    tokens = tiny.tokenizer(template=template)
    tokens.add_tokens(["<think>", "</think>"])
    encoder = Encoder.for_tokenizer(tokens, 64, "assistant")
    sample = _chat("red", "blue")
    (example,) = encoder.encode_row(SourceRow(1, sample))
    prompt = encoder.prompt_ids(sample.messages[:-1])
    assert list(example.ids[: len(prompt)]) == prompt
    learnt = [label for label in example.labels if label != IGNORED]
    assert tokens.convert_ids_to_tokens(learnt) == ["</think>", "blue", "<|im_end|>"]


def test_rows_that_say_the_same_never_fall_on_two_sides() -> None:
    texts = [f"word {i % 30}" for i in range(300)]
    source = [
        SourceRow(i, _chat(text.upper() if i % 2 else f" {text} ", "yes"))
        for i, text in enumerate(texts)
    ]
    split = split_rows(source, validation=0.1, test=0.1, seed=3)
    sides = [{row.key for row in side} for side in split]
    assert sum(len(side) for side in split) == 300
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert [len(side) for side in split[1:]] == [30, 30]


def test_the_split_depends_on_the_seed_and_not_on_the_order() -> None:
    source = [SourceRow(i, _chat(f"q {i}", "a")) for i in range(50)]
    first = split_rows(source, validation=0.1, test=0.1, seed=1)
    turned = split_rows(source[::-1], validation=0.1, test=0.1, seed=1)
    other = split_rows(source, validation=0.1, test=0.1, seed=2)
    assert first.test == turned.test
    assert first.test != other.test


def test_tiny_data_says_what_is_missing() -> None:
    source = [SourceRow(i, _chat("the same", "thing")) for i in range(100)]
    with pytest.raises(NotPossibleError, match="only 1 different"):
        split_rows(source, validation=0.1, test=0.1, seed=0)


def test_rows_of_the_test_file_leave_the_training_rows() -> None:
    source = [SourceRow(i, _chat(f"q {i}", "a")) for i in range(5)]
    assert [row.line for row in without(source, source[:2])] == [2, 3, 4]


def test_unusable_rows_are_named_by_line(tmp_path: Path) -> None:
    table = [{"question": "q", "answer": "a"}, {"question": "q", "answer": ""}]
    loaded = load_rows(write_csv(table, tmp_path / "d.csv"), DataChoice(train="d.csv"), "chat")
    assert len(loaded.rows) == 1
    assert loaded.skipped == 1
    assert "line 3" in loaded.problems[0].en


def test_a_file_without_answers_is_refused(tmp_path: Path) -> None:
    path = write_jsonl([{"question": "q", "answer": ""}] * 3, tmp_path / "d.jsonl")
    with pytest.raises(UnreadableError, match="no usable row"):
        load_rows(path, DataChoice(train=str(path)), "chat")


def test_all_labels_masked_is_refused() -> None:
    example = _encode(_chat("red", "blue"))
    masked = Example(
        example.ids, example.labels[:0] + type(example.labels)("l", [IGNORED] * len(example.ids)), 1
    )
    audit = audit_labels([masked, masked])
    assert audit.masked_rows == 2
    with pytest.raises(HaltedError) as caught:
        refuse_unlearnable(audit)
    assert caught.value.cause == "all_labels_masked"


def test_packing_fills_sequences_and_loses_nothing() -> None:
    examples = [_encode(_chat(" ".join(["red"] * (i % 9 + 1)), "blue")) for i in range(40)]
    packs = pack(examples, 40, seed=0)
    assert sorted(id(e) for item in packs for e in item) == sorted(map(id, examples))
    assert max(sum(len(e.ids) for e in item) for item in packs) <= 40
    assert len(packs) < 20
    assert packs == pack(examples, 40, seed=0)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("flat", [False, True])
def test_packed_samples_do_not_read_each_other(attention: str, *, flat: bool) -> None:
    network = tiny.model().eval()
    network.set_attn_implementation(attention)
    examples = [
        _encode(_chat("red green blue", "small large")),
        _encode(_chat("hot", "cold dry wet")),
    ]
    short = _encode(_chat("near", "far"))
    collator = Collator(tiny.tokenizer().pad_token_id, packed=True, flat=flat)
    packed = collator([(examples[0], examples[1]), (short,)])
    alone = [Collator(tiny.tokenizer().pad_token_id)(one_each([e])) for e in (*examples, short)]
    with torch.no_grad():
        together = float(token_losses(network, packed, network).total)
        apart = sum(float(token_losses(network, batch, network).total) for batch in alone)
    assert together == pytest.approx(apart, abs=1e-4)


def test_the_logits_that_are_left_out_change_no_loss() -> None:
    network = tiny.model().eval()
    examples = [_encode(_chat("red green", "small")), _encode(_chat("hot", "cold dry wet"))]
    batch = Collator(tiny.tokenizer().pad_token_id)(one_each(examples))
    with torch.no_grad():
        own = token_losses(network, batch, network)
        whole = network(
            input_ids=batch["input_ids"],
            attention_mask=batch["attention_mask"],
            labels=batch["labels"],
        ).loss
    tokens = int((own.targets_bk != IGNORED).sum())
    assert float(own.total) / tokens == pytest.approx(float(whole), abs=1e-6)
    assert own.logits_bkv.shape[1] < batch["input_ids"].shape[1]


def test_fillers_make_whole_steps_and_carry_no_loss() -> None:
    example = _encode(_chat("red", "blue"))
    items = Items(one_each([example] * 5), multiple=4, filling=2)
    assert len(items) == 8
    assert items.tokens == 5 * len(example.ids)
    batch = Collator(2)([items[i] for i in range(8)])
    assert batch["rows"].flatten().tolist() == [1] * 5 + [-1] * 3
    assert int(batch["tokens"]) == items.tokens
    assert (batch["labels"][5:] == IGNORED).all()


def test_render_ends_where_an_answer_begins() -> None:
    words = render(tiny.tokenizer(), _chat("red").messages, ask=True)
    assert words.endswith("assistant :")
