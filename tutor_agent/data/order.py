"""The order of the samples in an epoch when those of similar length share a batch."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_POOL = 50
"""Batches that are sorted together: enough for little padding, few enough to keep the order random."""


class ByLength(torch.utils.data.Sampler[int]):
    """Puts samples of similar length side by side, in batches whose order stays random.

    Every epoch is a new order, made of the seed and the epoch alone: all processes have the same, and a
    resumed run has that of the run it goes on from. The longest batch comes first, so that a lack of
    memory shows at once.
    """

    def __init__(self, lengths: Sequence[int], *, batch: int, seed: int) -> None:
        """Order `lengths` (tokens of each sample) in groups of `batch`, the samples of one optimizer step."""
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        drawn = random.Random(f"{self._seed}-{self._epoch}")
        order = list(range(len(self._lengths)))
        drawn.shuffle(order)
        pool = self._batch * _POOL
        groups: list[list[int]] = []
        for i in range(0, len(order), pool):
            near = sorted(order[i : i + pool], key=self._lengths.__getitem__, reverse=True)
            groups += [near[j : j + self._batch] for j in range(0, len(near), self._batch)]
        drawn.shuffle(groups)
        longest = max(
            range(len(groups)), key=lambda i: max(map(self._lengths.__getitem__, groups[i]))
        )
        groups[0], groups[longest] = groups[longest], groups[0]
        for group in groups:
            yield from group
