"""Token ids and labels: loss only where the model is to learn, and always on the end of an answer."""

from __future__ import annotations

import itertools
from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from tutor_agent.data.template import encode, end_tokens, render

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.core.samples import Message, Sample
    from tutor_agent.data.load import SourceRow

IGNORED = -100
"""Label of a token that carries no loss."""

_FILLER_ROW = -1
_TAIL = 8
"""A template may write this many tokens after the end of the last answer."""
_TRIES = 6
"""Shortening by tokens may miss by a few where the cut makes new tokens; then it is done again."""


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


class Marked(NamedTuple):
    """Token ids, which of them are learnt, and whether the context was shortened."""

    ids: list[int]
    learnt: list[bool]
    shorter: bool = False


class _Place(NamedTuple):
    """The words around a context, in the turn `turn`."""

    turn: int
    before: str
    after: str

    def filled(self, messages: Sequence[Message], context: str) -> tuple[Message, ...]:
        """Return `messages` with `context` in this place."""
        content = f"{self.before}{context}{self.after}".strip()
        turn = messages[self.turn].model_copy(update={"content": content})
        return (*messages[: self.turn], turn, *messages[self.turn + 1 :])


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
        return self._cut(self._asked(messages), self.max_length)

    def question_ids(self, sample: Sample, room: int) -> list[int]:
        """Return what the model reads before it gives the last answer of `sample`: at most `room` tokens.

        The context is shortened first, as in training.
        """

        def read(messages: Sequence[Message]) -> Marked:
            ids = self._asked(messages[:-1])
            return Marked(ids, [False] * len(ids))

        return self._cut(self._fitted(sample, read, room).ids, room)

    def _asked(self, messages: Sequence[Message]) -> list[int]:
        return encode(self.tokenizer, render(self.tokenizer, messages, ask=True))

    def _cut(self, ids: list[int], room: int) -> list[int]:
        """Cut `ids` from the left to `room`; a beginning-of-sequence token stays."""
        if len(ids) <= room:
            return ids
        if ids[0] == self.tokenizer.bos_token_id:
            return [ids[0], *ids[len(ids) - room + 1 :]]
        return ids[-room:]

    def _fitted(
        self, sample: Sample, read: Callable[[Sequence[Message]], Marked], room: int
    ) -> Marked:
        """Read `sample` with as much of its context as `room` tokens allow, its beginning kept."""
        found = read(sample.messages)
        place = _place(sample) if len(found.ids) > room else None
        context = sample.context
        for _ in range(_TRIES):
            over = len(found.ids) - room
            if over <= 0 or place is None or not context:
                break
            context = shortened(self.tokenizer, context, over)
            found = read(place.filled(sample.messages, context))._replace(shorter=True)
        return found

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
        ids, learnt, shorter = self._fitted(sample, self._learnt, self.max_length)
        cut = self._cut(ids, self.max_length)
        marks = learnt[len(learnt) - len(cut) :]
        ended = any(
            mark and token in self.ends
            for token, mark in zip(cut[-_TAIL:], marks[-_TAIL:], strict=True)
        )
        return self._example(cut, marks, row, truncated=shorter or len(cut) < len(ids), ended=ended)

    def _learnt(self, messages: Sequence[Message]) -> Marked:
        """Return the whole conversation and which of its tokens are learnt."""
        words = render(self.tokenizer, messages)
        spans = self._spans(messages, words)
        if spans is None:
            ids, learnt = self._last_answer(messages)
        else:
            ids, learnt = self._marked(words, spans)
        return Marked(ids, [True] * len(ids) if self.supervise == "all" else learnt)

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


def shortened(tokenizer: PreTrainedTokenizerBase, words: str, by: int) -> str:
    """Return `words` without about its last `by` tokens; always shorter, empty when nothing is left."""
    ids = encode(tokenizer, words)
    kept = str(tokenizer.decode(ids[: max(len(ids) - by, 0)], skip_special_tokens=False))
    # What comes back from the tokens may differ in white space; only the beginning of the text counts.
    same = sum(
        1
        for _ in itertools.takewhile(
            lambda pair: pair[0] == pair[1], zip(words, kept, strict=False)
        )
    )
    return words[: min(same, len(words) - 1)].rstrip()


def _place(sample: Sample) -> _Place | None:
    """Return where the context stands: in the last question that holds it, else None."""
    context = sample.context
    for i in reversed(range(len(sample.messages))):
        turn = sample.messages[i]
        if context and turn.role == "user" and context in turn.content:
            at_end = turn.content.endswith(context)
            start = turn.content.rindex(context) if at_end else turn.content.index(context)
            return _Place(i, turn.content[:start], turn.content[start + len(context) :])
    return None


def filler(token: int) -> Example:
    """Return an example that carries no loss: it fills the last batch of an epoch."""
    return Example(array("l", [token, token]), array("l", [IGNORED, IGNORED]), _FILLER_ROW)
