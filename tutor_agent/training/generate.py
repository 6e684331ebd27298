"""Answers to held-out prompts on a budget: for the metrics, and to be read side by side.

Greedy, in batches padded on the left, with the template of training. The batches depend on the rows alone;
processes share them, so that their number changes nothing.
"""

from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tutor_agent.data.labels import Encoder
    from tutor_agent.data.load import SourceRow

_BATCH_ROWS = 32
_BATCH_TOKENS = 4096
_BATCH_LENGTHS = 4
"""A batch holds at most so many tokens, or this many times the longest sample: its keys and values are far
less than what training keeps."""
_LEAST_TOKENS = 16


class Answered(NamedTuple):
    """A held-out prompt, what the model says, and what the data says."""

    prompt: str
    answer: str
    reference: str
    accepted: tuple[str, ...] = ()
    """Every answer that counts as right, where the data lists several."""


class _Asked(NamedTuple):
    """A prompt as words and as tokens, and what the data answers."""

    prompt: str
    reference: str
    ids: list[int]


@dataclass(frozen=True)
class Writer:
    """A model that writes answers."""

    model: Any
    """The model, inside its wrapper only where that shards its weights."""
    encoder: Encoder
    """Renders a prompt exactly as in training."""
    most_tokens: int
    """Longest answer in tokens."""
    half: torch.dtype | None = None
    """Dtype to compute in, when it is not that of the weights."""
    together: bool = False
    """Whether every process has to take part in every forward pass (sharded weights)."""

    def answer(
        self, rows: Sequence[SourceRow], stopped: Callable[[], bool] = lambda: False
    ) -> list[Answered] | None:
        """Answer the prompts of `rows`; None when `stopped` says so in between.

        No answer grows beyond twice the longest reference: what comes later can only be wrong. All
        processes call this together, and all get every answer.
        """
        new = self._new_tokens(rows)
        asked = [self._asked(row, new) for row in rows]
        batches = self._batches(asked, new)
        rank, world = _place()
        said: dict[int, str] = {}
        was_training = self.model.training
        self.model.eval()
        try:
            for i in range(math.ceil(len(batches) / world)):
                if stopped():
                    return None
                turn = i * world + rank
                if turn < len(batches):
                    said |= self._written([(k, asked[k]) for k in batches[turn]], new)
                elif self.together:
                    self._written([(k, asked[k]) for k in batches[-1]], new)
        finally:
            self.model.train(was_training)
        said = _gathered(said)
        return [
            Answered(one.prompt, said[k], one.reference, row.sample.accepted)
            for k, (one, row) in enumerate(zip(asked, rows, strict=True))
        ]

    def _new_tokens(self, rows: Sequence[SourceRow]) -> int:
        tokenizer = self.encoder.tokenizer
        references = [question_and_answer(row)[1] for row in rows]
        if not references:
            return _LEAST_TOKENS
        lengths = [len(ids) for ids in tokenizer(references, add_special_tokens=False)["input_ids"]]
        return min(self.most_tokens, max(_LEAST_TOKENS, 2 * max(lengths)))

    def _asked(self, row: SourceRow, new: int) -> _Asked:
        encoder = self.encoder
        prompt, reference = question_and_answer(row)
        room = min(encoder.max_length, max(_positions(self.model) - new, 1))
        if row.sample.messages:
            ids = encoder.question_ids(row.sample, room)
        else:
            ids = list(encoder.tokenizer(prompt)["input_ids"])[-room:]
        return _Asked(prompt, reference, ids)

    def _batches(self, asked: Sequence[_Asked], new: int) -> list[list[int]]:
        """Return the numbers of the prompts in each batch, those of similar length together."""
        room = max(_BATCH_TOKENS, _BATCH_LENGTHS * self.encoder.max_length)
        batches: list[list[int]] = []
        for k in sorted(range(len(asked)), key=lambda k: -len(asked[k].ids)):
            longest = len(asked[batches[-1][0]].ids) + new if batches else 0
            full = batches and (
                len(batches[-1]) == _BATCH_ROWS or (len(batches[-1]) + 1) * longest > room
            )
            if not batches or full:
                batches.append([])
            batches[-1].append(k)
        return batches

    def _written(self, batch: Sequence[tuple[int, _Asked]], new: int) -> dict[int, str]:
        tokenizer, ends = self.encoder.tokenizer, self.encoder.ends
        device = next(self.model.parameters()).device
        pad: Any = tokenizer.pad_token_id
        width = max(len(asked.ids) for _, asked in batch)
        missing = [width - len(asked.ids) for _, asked in batch]
        pairs = list(zip(batch, missing, strict=True))
        ids_bt = torch.tensor([[pad] * gap + one.ids for (_, one), gap in pairs], device=device)
        mask_bt = torch.tensor([[0] * gap + [1] * (width - gap) for gap in missing], device=device)
        precision = torch.autocast(device.type, dtype=self.half) if self.half else nullcontext()
        with torch.no_grad(), precision:
            output_bt = self.model.generate(
                input_ids=ids_bt,
                attention_mask=mask_bt,
                max_new_tokens=new,
                do_sample=False,
                temperature=None,
                top_p=None,
                top_k=None,
                eos_token_id=list(ends),
                pad_token_id=pad,
                use_cache=True,
                synced_gpus=self.together and _place()[1] > 1,
            )
        answers = output_bt[:, width:].tolist()
        return {k: self._words(ids) for (k, _), ids in zip(batch, answers, strict=True)}

    def _words(self, ids: list[int]) -> str:
        stop = next((i for i, token in enumerate(ids) if token in self.encoder.ends), len(ids))
        return str(self.encoder.tokenizer.decode(ids[:stop], skip_special_tokens=True)).strip()


def question_and_answer(row: SourceRow) -> tuple[str, str]:
    """Return question and answer of a row; a plain text is asked to go on from its middle."""
    messages = row.sample.messages
    if messages:
        label = row.sample.label
        question = messages[-2].content if len(messages) > 1 else ""
        return question, row.sample.answer if label is None else label
    words = row.sample.text or ""
    middle = max(len(words) // 2, 1)
    return words[:middle], words[middle:]


def _positions(model: Any) -> int:
    """Return how many positions the model knows; very many when it does not say."""
    config = model.config.get_text_config()
    return int(getattr(config, "max_position_embeddings", None) or 2**31)


def _place() -> tuple[int, int]:
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1


def _gathered(here: dict[int, str]) -> dict[int, str]:
    """Return what all processes have written."""
    world = _place()[1]
    if world == 1:
        return here
    parts: list[dict[int, str] | None] = [None] * world
    distributed.all_gather_object(parts, here)
    return {k: words for part in parts for k, words in (part or {}).items()}
