"""A conversation as plain values: what was said, what was done, what happened.

Both brains read this, sessions store it, faces redraw from it. It knows no LLM library.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, JsonValue, TypeAdapter

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence


class UserEntry(Contract):
    """Words of the person."""

    kind: Literal["user"] = "user"
    """Tells entries apart."""
    words: str
    """What was typed."""


class NoticeEntry(Contract):
    """Something happened to a run while nobody was talking."""

    kind: Literal["notice"] = "notice"
    """Tells entries apart."""
    run: str
    """Name of the run."""
    happened: Literal["halted", "failed", "lost", "stopped", "completed", "finding", "repaired"]
    """What happened; repaired: it came to a bad end and the autopilot has started its repair."""
    step: int | None = None
    """Optimizer steps done."""
    text: Text
    """The event in a sentence."""
    cause: str | None = None
    """Slug of the fault, when one was found."""


class TutorEntry(Contract):
    """Words of the tutor."""

    kind: Literal["tutor"] = "tutor"
    """Tells entries apart."""
    words: str
    """What was said."""
    answered_by: str = "builtin"
    """Name of the model that spoke."""
    interrupted: bool = False
    """True when the person cut it short."""


class CallEntry(Contract):
    """The tutor asked for a tool."""

    kind: Literal["call"] = "call"
    """Tells entries apart."""
    call: str
    """Id that the result repeats."""
    tool: str
    """Name of the tool."""
    arguments: dict[str, JsonValue] = {}
    """Its arguments."""


class ResultEntry(Contract):
    """What came of a tool call."""

    kind: Literal["result"] = "result"
    """Tells entries apart."""
    call: str
    """Id of the call."""
    tool: str
    """Name of the tool."""
    outcome: Literal["done", "failed", "denied"] = "done"
    """`failed`: the tool explained why it could not; `denied`: the person did not allow it."""
    data: JsonValue = None
    """What the model sees."""
    summary: Text
    """One sentence for the person."""

    @property
    def ok(self) -> bool:
        """Whether the tool did what it was asked."""
        return self.outcome == "done"


class AllowedEntry(Contract):
    """The person allowed a tool for the rest of the conversation."""

    kind: Literal["allowed"] = "allowed"
    """Tells entries apart."""
    tool: str
    """Name of the tool."""


Entry = Annotated[
    UserEntry | NoticeEntry | TutorEntry | CallEntry | ResultEntry | AllowedEntry,
    Field(discriminator="kind"),
]
ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)

UNANSWERED = Text(
    en="The conversation ended before this was done; nothing was started.",
    zh="对话在执行之前结束了，没有启动任何操作。",
)


def unanswered(history: list[Entry]) -> list[CallEntry]:
    """Return the calls that have no result."""
    answered = {entry.call for entry in history if isinstance(entry, ResultEntry)}
    return [e for e in history if isinstance(e, CallEntry) and e.call not in answered]


def denials(history: list[Entry], reason: Text = UNANSWERED) -> list[ResultEntry]:
    """Return a denial for each call without a result, so that the conversation can go on."""
    return [
        ResultEntry(call=e.call, tool=e.tool, outcome="denied", summary=reason)
        for e in unanswered(history)
    ]


def latest(entries: Sequence[Entry], turns: int) -> Sequence[Entry]:
    """Return the last turns, beginning with what opened the first of them."""
    opened = [n for n, e in enumerate(entries) if isinstance(e, UserEntry | NoticeEntry)]
    return entries[opened[-turns] :] if len(opened) > turns else entries
