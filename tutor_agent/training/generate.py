"""Answers to held-out prompts, to be read side by side before and after."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tutor_agent.data.labels import Encoder
    from tutor_agent.data.load import SourceRow

_LEAST_TOKENS = 24
_MOST_TOKENS = 192


class Answered(NamedTuple):
    """A held-out prompt, what the model says, and what the data says."""

    prompt: str
    answer: str
    reference: str


def answer_rows(
    model: Any, encoder: Encoder, rows: Sequence[SourceRow], *, half: torch.dtype | None = None
) -> list[Answered]:
    """Answer the prompts of `rows` greedily, each for about as long as its reference.

    Args:
        model: The model inside its distributed wrapper; its mode is restored.
        encoder: Renders the prompt exactly as in training.
        rows: Held-out rows.
        half: Dtype to compute in, when it is not that of the weights.
    """
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    precision = torch.autocast(device.type, dtype=half) if half else nullcontext()
    with torch.no_grad(), precision:
        answers = [_answer(model, encoder, row, device) for row in rows]
    model.train(was_training)
    return answers


def _answer(model: Any, encoder: Encoder, row: SourceRow, device: torch.device) -> Answered:
    tokenizer = encoder.tokenizer
    messages, reference = row.sample.messages, row.sample.answer
    if messages:
        prompt = messages[-2].content if len(messages) > 1 else ""
        ids = encoder.prompt_ids(messages[:-1])
    else:
        words = row.sample.text or ""
        middle = max(len(words) // 2, 1)
        prompt, reference = words[:middle], words[middle:]
        ids = list(tokenizer(prompt)["input_ids"])[-encoder.max_length :]
    length = len(tokenizer(reference, add_special_tokens=False)["input_ids"])
    input_ids = torch.tensor([ids], device=device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=torch.ones_like(input_ids),
        max_new_tokens=min(max(2 * length, _LEAST_TOKENS), _MOST_TOKENS),
        do_sample=False,
        temperature=None,
        top_p=None,
        top_k=None,
        eos_token_id=list(encoder.ends),
        pad_token_id=tokenizer.pad_token_id,
        use_cache=True,
    )
    said = str(tokenizer.decode(output[0][len(ids) :], skip_special_tokens=True)).strip()
    return Answered(prompt, said, reference)
