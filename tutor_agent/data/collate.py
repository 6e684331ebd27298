"""Batches: padded to the longest of the batch, or packed without cross-talk.

Packed samples are kept apart by three things together: positions that start again at every sample, no
attention mask, and no cache. transformers then builds the mask that separates them; with any of the
three missing it silently lets them read each other.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import torch

from tutor_agent.data.labels import IGNORED, Example, filler

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Item: TypeAlias = tuple[Example, ...]
"""What one place of a batch holds: one example, or several that share a sequence."""

Batch: TypeAlias = dict[str, torch.Tensor]


class Items(torch.utils.data.Dataset[Item]):
    """A list of items, filled up so that every epoch is a whole number of optimizer steps.

    The fillers carry no loss, so the losses do not depend on how many processes share a batch.
    """

    def __init__(self, items: Sequence[Item], *, multiple: int, filling: int) -> None:
        missing = -len(items) % multiple
        self.real = len(items)
        self._items = [*items, *([(filler(filling),)] * missing)]

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    @property
    def lengths(self) -> list[int]:
        """Return the tokens of every item."""
        return [sum(len(example.ids) for example in item) for item in self._items]

    @property
    def tokens(self) -> int:
        """Return how many tokens one pass reads."""
        return sum(len(example.ids) for item in self._items for example in item if example.row >= 0)


def one_each(examples: Sequence[Example]) -> list[Item]:
    """Return one item for every example."""
    return [(example,) for example in examples]


def pack(examples: Sequence[Example], length: int, seed: int) -> list[Item]:
    """Join examples into sequences of at most `length` tokens, in a seeded random order.

    Each example goes into the fullest sequence that still has room for it.
    """
    order = list(examples)
    random.Random(seed).shuffle(order)
    by_room: dict[int, list[list[Example]]] = {}
    sequences: list[list[Example]] = []
    for example in order:
        size = len(example.ids)
        room = next((r for r in range(size, length + 1) if by_room.get(r)), None)
        sequence = by_room[room].pop() if room is not None else []
        if room is None:
            sequences.append(sequence)
        sequence.append(example)
        by_room.setdefault((length if room is None else room) - size, []).append(sequence)
    return [tuple(sequence) for sequence in sequences]


@dataclass(frozen=True)
class Collator:
    """Makes tensors of a list of items."""

    pad: int
    packed: bool = False
    flat: bool = False
    """Put the whole batch into one row, without padding; only with `packed`."""

    def __call__(self, items: Sequence[Item]) -> Batch:
        """Return `input_ids`, `labels`, `rows`, `tokens`, and the attention mask or the positions.

        A flat batch also has `lengths`, the tokens of each sample in the one row.
        """
        rows = list(items)
        if self.flat:
            rows = [tuple(example for item in items for example in item)]
        width = max(sum(len(example.ids) for example in item) for item in rows)
        batch: Batch = {
            "input_ids": torch.tensor([_joined(item, width, self.pad, "ids") for item in rows]),
            "labels": torch.tensor([_joined(item, width, IGNORED, "labels") for item in rows]),
            "rows": _row_numbers(rows),
            "tokens": torch.tensor(
                [sum(len(example.ids) for item in items for example in item if example.row >= 0)]
            ),
        }
        if self.packed:
            batch["position_ids"] = torch.tensor([_positions(item, width) for item in rows])
            if self.flat:
                batch["lengths"] = torch.tensor([len(example.ids) for example in rows[0]])
        else:
            lengths = torch.tensor([sum(len(example.ids) for example in item) for item in rows])
            batch["attention_mask"] = (torch.arange(width)[None] < lengths[:, None]).long()
        return batch


def _joined(item: Item, width: int, padding: int, part: str) -> list[int]:
    values = [value for example in item for value in getattr(example, part)]
    return values + [padding] * (width - len(values))


def _positions(item: Item, width: int) -> list[int]:
    """Return positions that start again at every example, and at the padding."""
    positions = [place for example in item for place in range(len(example.ids))]
    return positions + list(range(width - len(positions)))


def _row_numbers(rows: Sequence[Item]) -> torch.Tensor:
    width = max(len(item) for item in rows)
    numbers = [[e.row for e in item] + [-1] * (width - len(item)) for item in rows]
    return torch.tensor(numbers)
