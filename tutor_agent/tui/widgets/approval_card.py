"""The tutor asks before it writes, spends or stops."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.actions.fix import FixProposal
from tutor_agent.brain.talk import Verdict
from tutor_agent.core.advice import Advice
from tutor_agent.tui.changes import change_words
from tutor_agent.tui.paint import hanging, line, lines, wrap
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.choices import Choice
from tutor_agent.tui.widgets.plan_card import plan_rows

if TYPE_CHECKING:
    import asyncio

    from tutor_agent.brain.talk import Approval
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

_SAID = {Verdict.once: "approval.said_once", Verdict.always: "approval.said_always"}


class ApprovalCard(Card):
    """One question of permission; the brain waits for `answer`."""

    def __init__(self, approval: Approval, answer: asyncio.Future[Verdict]) -> None:
        self.approval = approval
        self.answer = answer
        super().__init__()

    def choices(self) -> tuple[Choice, ...]:
        """Once, always, no; and the difference, where there is one."""
        diff = (Choice("d", "diff", "approval.diff"),) if self._has_details() else ()
        return (
            Choice("a", Verdict.once.value, "approval.once"),
            Choice("A", Verdict.always.value, "approval.always"),
            Choice("r", Verdict.no.value, "approval.no"),
            *diff,
        )

    def title(self, words: Words) -> str:
        """Ask for permission."""
        return words("approval.title")

    def identity(self, words: Words) -> str:
        """Name the tool."""
        return self.approval.tool

    def paint(self, words: Words, width: int) -> Content:
        """Draw what would happen."""
        approval = self.approval
        head = [Content.styled(words.of(approval.title), "bold $value")]
        preview = approval.preview
        if isinstance(preview, FixProposal):
            return lines(*head, hanging(_fix_rows(preview, words), width))
        if isinstance(preview, Advice):
            return lines(*head, hanging(plan_rows(preview, words, width), width))
        if approval.summary:
            return lines(*head, *wrap(Content.styled(words.of(approval.summary), "$detail"), width))
        rows: list[Row] = [
            (name, Content.styled(str(value), "$detail"))
            for name, value in approval.arguments.items()
            if value not in (None, "", [], {})
        ]
        return lines(*head, hanging(rows, width)) if rows else lines(*head)

    def give(self, verdict: Verdict) -> None:
        """Answer the brain and close the card; a second answer is ignored."""
        if not self.answer.done():
            self.answer.set_result(verdict)
        self.close(_SAID.get(verdict, "approval.said_no"))

    def _has_details(self) -> bool:
        return isinstance(self.approval.preview, FixProposal | Advice)


def _fix_rows(proposal: FixProposal, words: Words) -> list[Row]:
    changes = change_words(proposal.before, proposal.after, words)
    rows: list[Row] = [
        (words("approval.run"), Content.styled(proposal.run, "$value")),
        (words("diagnosis.fix"), Content.styled(words.of(proposal.fix.title), "$value")),
    ]
    rows += [(words("approval.changes") if n == 0 else "", c) for n, c in enumerate(changes)]
    start = "approval.from_checkpoint" if proposal.resume_from else "approval.from_start"
    name = (proposal.resume_from or "").rpartition("/")[2]
    rows.append((words("approval.start"), line((words(start, checkpoint=name), "$detail"))))
    return rows
