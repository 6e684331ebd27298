"""Token ids and labels: loss only where the model is to learn, and always on the end of an answer."""

from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.data.template import encode, end_tokens, render

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.core.samples import Message, Sample
    from tutor_agent.data.load import SourceRow

IGNORED = -100
"""Label of a token that carries no loss."""

_FILLER_ROW = -1
_TAIL = 8
"""A template may write this many tokens after the end of the last answer."""


@dataclass(frozen=True, slots=True)
class Example:
    """One sample as the model reads it."""

    ids: array[int]
    """Token ids."""
    labels: array[int]
    """The id to learn at each place, or -100; never set at the first place, which nothing predicts."""
    row: int
    """Line of the data file; -1 for a filler that carries no loss."""
    truncated: bool = False
    """Whether the prompt was cut."""
    ended: bool = True
    """Whether the end of the last answer carries loss."""

    @property
    def supervised(self) -> int:
        """Return how many tokens carry loss."""
        return sum(label != IGNORED for label in self.labels)


class _Span(NamedTuple):
    """Where an answer is in the rendered words."""

    start: int
    stop: int


@dataclass(frozen=True)
class Encoder:
    """Turns samples into examples for one tokenizer."""

    tokenizer: PreTrainedTokenizerBase
    max_length: int
    supervise: Literal["assistant", "last", "all"]
    ends: tuple[int, ...]

    @classmethod
    def for_tokenizer(
        cls,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        supervise: Literal["assistant", "last", "all"],
    ) -> Encoder:
        """Make an encoder; the tokenizer has its chat template already."""
        return cls(tokenizer, max_length, supervise, end_tokens(tokenizer))

    def encode_row(self, row: SourceRow) -> list[Example]:
        """Return the examples of one row: several for a long text, else one."""
        if row.sample.messages:
            return [self._conversation(row.sample, row.line)]
        return self._text(row.sample.text or "", row.line)

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return what the model reads before it answers, cut from the left like a training sample."""
        ids = encode(self.tokenizer, render(self.tokenizer, messages, ask=True))
        return self._cut(ids)

    def _cut(self, ids: list[int]) -> list[int]:
        """Cut `ids` from the left to the longest length; a beginning-of-sequence token stays."""
        if len(ids) <= self.max_length:
            return ids
        if ids[0] == self.tokenizer.bos_token_id:
            return [ids[0], *ids[len(ids) - self.max_length + 1 :]]
        return ids[-self.max_length :]

    def _text(self, words: str, row: int) -> list[Example]:
        ids = [*self.tokenizer(words)["input_ids"]]
        if not ids or ids[-1] != self.ends[-1]:
            ids.append(self.ends[-1])
        pieces = [ids[i : i + self.max_length] for i in range(0, len(ids), self.max_length)]
        return [
            self._example(piece, [True] * len(piece), row, ended=piece[-1] == self.ends[-1])
            for piece in pieces
        ]

    def _conversation(self, sample: Sample, row: int) -> Example:
        words = render(self.tokenizer, sample.messages)
        spans = self._spans(sample.messages, words)
        if spans is None:
            ids, learnt = self._last_answer(sample.messages)
        else:
            ids, learnt = self._marked(words, spans)
        if self.supervise == "all":
            learnt = [True] * len(ids)
        cut = self._cut(ids)
        marks = learnt[len(learnt) - len(cut) :]
        ended = any(
            mark and token in self.ends
            for token, mark in zip(cut[-_TAIL:], marks[-_TAIL:], strict=True)
        )
        return self._example(cut, marks, row, truncated=len(cut) < len(ids), ended=ended)

    def _spans(self, messages: Sequence[Message], words: str) -> list[_Span] | None:
        """Return where the learnt answers are; None when the template rewrites earlier turns.

        Reasoning templates do that: they drop the thoughts of past turns, and begin an answer with a
        `<think>` which the rendered conversation does not have.
        """
        answers = [i for i, message in enumerate(messages) if message.role == "assistant"]
        spans: list[_Span] = []
        for i in answers[-1:] if self.supervise == "last" else answers:
            before = render(self.tokenizer, messages[:i], ask=True)
            after = render(self.tokenizer, messages[: i + 1])
            if not (after.startswith(before) and words.startswith(after)):
                return None
            spans.append(_Span(len(before), len(after)))
        return spans

    def _marked(self, words: str, spans: list[_Span]) -> tuple[list[int], list[bool]]:
        ids: list[int] = []
        learnt: list[bool] = []
        whole = encode(self.tokenizer, words)
        borders = [0, *(border for span in spans for border in span), len(words)]
        for i, (start, stop) in enumerate(itertools.pairwise(borders)):
            piece = self._piece(words, start, stop, whole, len(ids))
            marks = [False] * len(piece)
            if i % 2:
                piece, marks = self._end_marked(piece, last=i == 2 * len(spans) - 1)
            ids += piece
            learnt += marks
        return ids, learnt

    def _piece(self, words: str, start: int, stop: int, whole: list[int], done: int) -> list[int]:
        """Return the ids of one part as the model would meet them while answering.

        They are those of the whole text when the border falls between two of its tokens. When it does
        not, the part is encoded by itself: at inference the prompt is, too.
        """
        upto = encode(self.tokenizer, words[:stop]) if stop < len(words) else whole
        if done <= len(upto) and whole[: len(upto)] == upto:
            before = encode(self.tokenizer, words[:start]) if start else []
            if len(before) == done and upto[:done] == before:
                return upto[done:]
        return encode(self.tokenizer, words[start:stop])

    def _end_marked(self, piece: list[int], *, last: bool) -> tuple[list[int], list[bool]]:
        """Mark an answer up to its end token, which is added where the template writes none."""
        stop = max((i for i, token in enumerate(piece) if token in self.ends), default=None)
        if stop is None and last:
            piece = [*piece, self.ends[0]]
        upto = len(piece) if stop is None else stop + 1
        return piece, [True] * upto + [False] * (len(piece) - upto)

    def _last_answer(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Return the inference prompt followed by the last answer, for templates that rewrite turns."""
        prompt = render(self.tokenizer, messages[:-1], ask=True)
        answer = messages[-1].content
        if prompt.rstrip().endswith("<think>"):
            thinks = "</think>" in answer
            answer = (
                answer.removeprefix("<think>").lstrip("\n") if thinks else f"\n</think>\n\n{answer}"
            )
        ids = encode(self.tokenizer, prompt)
        said = [*encode(self.tokenizer, answer), self.ends[0]]
        return ids + said, [False] * len(ids) + [True] * len(said)

    def _example(
        self, ids: list[int], learnt: list[bool], row: int, *, truncated: bool = False, ended: bool
    ) -> Example:
        labels = [token if mark else IGNORED for token, mark in zip(ids, learnt, strict=True)]
        labels[0] = IGNORED
        return Example(array("l", ids), array("l", labels), row, truncated, ended)


def filler(token: int) -> Example:
    """Return an example that carries no loss: it fills the last batch of an epoch."""
    return Example(array("l", [token, token]), array("l", [IGNORED, IGNORED]), _FILLER_ROW)
