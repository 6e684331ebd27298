"""A small model that behaves like a pretrained one: a minute of real text, made once and cached."""

from __future__ import annotations

import math
import random
import sys
from typing import TYPE_CHECKING, Any

from tests import assets
from tutor_agent.core.resources import cache_dir

if TYPE_CHECKING:
    from pathlib import Path

    import torch
    from transformers import PreTrainedTokenizerFast

TOPICS = ("ai", "emotion", "psychology", "food", "humor")
"""Parts of the chatterbot corpus that the small model has never read."""

_ENTRIES = 1024
_LENGTH, _BATCH, _STEPS, _PEAK = 80, 16, 500, 4e-3
_TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def small_model() -> Path:
    """Return the folder of the small model, trained at the first call (about a minute on two cores)."""
    folder = cache_dir() / "benchmarks" / "faults-model-1"
    if not (folder / "model.safetensors").is_file():
        _make(folder)
    return folder


def talks(*, seen: bool = False) -> list[dict[str, str]]:
    """Return different question and answer pairs: those the model has read, or the others."""
    old = {(row["question"], row["answer"]) for row in assets.chatterbot_rows(without=TOPICS)}
    rows = [
        row
        for row in assets.chatterbot_rows()
        if ((row["question"], row["answer"]) in old) is seen
        and len(row["question"]) + len(row["answer"]) < 220
    ]
    return list({row["question"]: row for row in rows}.values())


def _make(folder: Path) -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    texts = [row["passage"] for row in assets.boolq_rows()]
    tokens: Any = _tokenizer(
        [*texts, *(f"{r['question']} {r['answer']}" for r in talks(seen=True))]
    )
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokens),
            hidden_size=96,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=512,
            tie_word_embeddings=False,
            bos_token_id=tokens.bos_token_id,
            eos_token_id=tokens.eos_token_id,
            pad_token_id=tokens.pad_token_id,
        )
    )
    _train(model, _stream(tokens, texts))
    model.save_pretrained(folder)
    tokens.save_pretrained(folder)


def _tokenizer(texts: list[str]) -> PreTrainedTokenizerFast:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_ENTRIES,
        special_tokens=["<|pad|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    core.train_from_iterator(texts, trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|pad|>",
    )
    made.chat_template = _TEMPLATE
    return made


def _stream(tokens: PreTrainedTokenizerFast, texts: list[str]) -> torch.Tensor:
    """Return the ids of all texts and conversations, mixed, in pieces of one length."""
    import torch

    chats: list[Any] = [
        [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["answer"]},
        ]
        for row in talks(seen=True)
    ]
    words = [str(tokens.apply_chat_template(chat, tokenize=False)) for chat in chats] * 6
    words += [f"{text}<|im_end|>" for text in texts]
    random.Random(0).shuffle(words)
    ids = [i for found in tokens(words, add_special_tokens=False)["input_ids"] for i in found]
    return torch.tensor(ids[: len(ids) // _LENGTH * _LENGTH]).view(-1, _LENGTH)


def _train(model: Any, pieces: torch.Tensor) -> None:
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=_PEAK, weight_decay=0.01)
    model.train()
    for step in range(_STEPS):
        rate = _PEAK * min(1.0, (step + 1) / 50) * (0.5 + 0.5 * math.cos(math.pi * step / _STEPS))
        for group in optimizer.param_groups:
            group["lr"] = rate
        batch = pieces[torch.randint(len(pieces), (_BATCH,))]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % 50 == 0 or step == _STEPS - 1:
            sys.stderr.write(f"small model: step {step}, loss {float(loss):.3f}\n")


if __name__ == "__main__":
    sys.stdout.write(f"{small_model()}\n")
