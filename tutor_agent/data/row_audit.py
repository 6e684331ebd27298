"""What the rows themselves are like: told apart from labels, since clean labels on junk teach junk."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedTokenizerBase

    from tutor_agent.data.load import SourceRow

_DAMAGED = re.compile(r"\ufffd|(?:[ÃÂâ][\u0080-\u00bf€™œ‚\u201a-\u201e]){2}|[\x00-\x08\x0e-\x1f]")
"""Characters that could not be decoded, UTF-8 read as Latin letters, control characters."""
_MARKER = re.compile(r"<[|｜][^<>|｜{}]{1,40}[|｜]>")


class RowAudit(NamedTuple):
    """Counts over the training rows."""

    repeated: int
    """Rows that say what an earlier one says."""
    damaged: int
    """Rows with characters that no language has."""
    shared: int
    """Rows that were left out because they are also held out."""
    foreign_markers: tuple[str, ...]
    """Marks around the turns that the tokenizer cuts into pieces: it is another model's template."""


def audit_rows(
    rows: Sequence[SourceRow], shared: int, tokenizer: PreTrainedTokenizerBase
) -> RowAudit:
    """Count what is odd about `rows`, of which `shared` others were left out."""
    damaged = 0
    for row in rows:
        words = [message.content for message in row.sample.messages] or [row.sample.text or ""]
        damaged += any(_DAMAGED.search(piece) is not None for piece in words)
    different = {row.key for row in rows}
    return RowAudit(len(rows) - len(different), damaged, shared, foreign_markers(tokenizer))


def foreign_markers(tokenizer: PreTrainedTokenizerBase) -> tuple[str, ...]:
    """Return the marks around the turns of a conversation that are no single tokens."""
    if not tokenizer.chat_template:
        return ()
    turn: Any = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    words = str(tokenizer.apply_chat_template(turn, tokenize=False))
    known = tokenizer.get_vocab()
    return tuple(mark for mark in dict.fromkeys(_MARKER.findall(words)) if mark not in known)
