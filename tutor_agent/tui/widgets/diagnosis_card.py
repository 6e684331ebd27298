"""What went wrong: how it came about, evidence, verdict, and the way out."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.changes import change_words
from tutor_agent.tui.paint import dotted, hanging, line, lines, marked, wrap
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.choices import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.core.findings import Diagnosis, Finding
    from tutor_agent.core.text import Text
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

_SEVERITY_STYLE = {"stop": "$trouble", "warn": "$caution", "hint": "$detail"}
_MAX_EVIDENCE, _BESIDE_STORY = 4, 2
_MAX_AGAINST = 2
_MAX_FIXES = 3
_MAX_OTHERS = 2
_UNBROKEN = 10_000
_LABELS = ("story", "evidence", "against", "verdict", "rivals", "settle", "fix")


class DiagnosisCard(Card):
    """One fault: that of a verdict with its rivals, or that of a run with a proposal to repair it."""

    trouble = True

    def __init__(
        self,
        finding: Finding,
        proposal: FixProposal | None = None,
        *,
        diagnosis: Diagnosis | None = None,
        story: tuple[Text, ...] = (),
        brief: bool = False,
    ) -> None:
        self.finding = finding
        self.proposal = proposal
        self.diagnosis = diagnosis
        self.story = story
        self.brief = brief
        super().__init__()

    @classmethod
    def of_verdict(cls, diagnosis: Diagnosis) -> DiagnosisCard:
        """Make the card of a verdict that found a fault."""
        return cls(diagnosis.findings[0], diagnosis=diagnosis, story=diagnosis.story)

    @classmethod
    def of_proposal(cls, proposal: FixProposal) -> DiagnosisCard:
        """Make the card of a repair that can be agreed to."""
        return cls(proposal.finding, proposal, story=proposal.story)

    def choices(self) -> tuple[Choice, ...]:
        """Apply the fix, look at its difference, leave it."""
        if self.proposal is None:
            return ()
        label = "diagnosis.apply" if self.proposal.resume_from else "diagnosis.apply_anew"
        return (
            Choice("a", "apply", label),
            Choice("d", "diff", "diagnosis.diff"),
            Choice("x", "dismiss", "diagnosis.dismiss"),
        )

    def title(self, words: Words) -> str:
        """Name the card."""
        return words("diagnosis.title")

    def identity(self, words: Words) -> str:
        """Name the rule that spoke."""
        return words("diagnosis.rule", cause=self.finding.cause)

    def paint(self, words: Words, width: int) -> Content:
        """Draw the fault, how it came about, what speaks for and against it, and the way out."""
        style = f"bold {_SEVERITY_STYLE[self.finding.severity]}"
        head = wrap(Content(words.of(self.finding.title)), width)
        room = width - _column(words)
        rows = [
            *self._came_about(words),
            *finding_rows(self.finding, words, room, most=self._most_evidence()),
            *self._rivals(words),
            *self._way_out(words, room),
        ]
        return lines(
            *(Content.styled(part.plain, style) for part in head),
            hanging(rows, width, column=_column(words)),
        )

    def _most_evidence(self) -> int:
        if self.story:
            return 0 if self.brief else _BESIDE_STORY
        return _BESIDE_STORY if self.brief else _MAX_EVIDENCE

    def _came_about(self, words: Words) -> list[Row]:
        """Tell the story; in brief where it broke and what follows: the rest stands in the conversation."""
        story = self.story[1:2] + self.story[2:][-1:] if self.brief else self.story
        told = [Content.styled(words.of(text), "$detail") for text in story]
        return _labelled(words("diagnosis.story"), told)

    def _rivals(self, words: Words) -> list[Row]:
        return rival_rows(self.diagnosis, words) if self.diagnosis is not None else []

    def _way_out(self, words: Words, room: int) -> list[Row]:
        proposal = self.proposal
        if proposal is None:
            return fix_rows(self.finding, words, room)
        title = words.of(proposal.fix.title)
        rows: list[Row] = [(words("diagnosis.fix"), Content.styled(title, "$value"))]
        steps = change_words(proposal.before, proposal.after, words)
        if proposal.resume_from:
            name = PurePath(proposal.resume_from).name
            steps.append(Content.styled(words("diagnosis.resume", checkpoint=name), "$detail"))
        return [*rows, ("", dotted(steps))] if steps else rows


def diagnosis_rows(diagnosis: Diagnosis, words: Words) -> list[Row]:
    """Return the rows of a verdict that found a fault: for faces that draw no card."""
    finding, room = diagnosis.findings[0], _UNBROKEN
    told = [Content(words.of(text)) for text in diagnosis.story]
    return [
        *_labelled(words("diagnosis.story"), told),
        *finding_rows(finding, words, room, most=_MAX_EVIDENCE),
        *rival_rows(diagnosis, words),
        *fix_rows(finding, words, room),
    ]


def finding_rows(finding: Finding, words: Words, room: int, *, most: int) -> list[Row]:
    """Return what speaks for and against a fault, and how sure that makes."""
    speaks = [
        marked(("+", "$healthy"), _detail(words.of(text)), room) for text in finding.evidence[:most]
    ]
    doubts = [
        marked(("−", "$caution"), _detail(words.of(text)), room)
        for text in finding.against[:_MAX_AGAINST]
    ]
    return [
        *_labelled(words("diagnosis.evidence"), speaks),
        *_labelled(words("diagnosis.against"), doubts),
        (words("diagnosis.verdict"), confidence(finding.confidence, words)),
    ]


def rival_rows(diagnosis: Diagnosis, words: Words) -> list[Row]:
    """Return what else it could be, and the question that settles it."""
    others = [
        line(
            (_bare(words.of(finding.title)), "$detail"),
            (f"  {figures.percent(finding.confidence)}", "$label"),
        )
        for finding in diagnosis.findings[1 : 1 + _MAX_OTHERS]
    ]
    rows = _labelled(words("diagnosis.rivals"), others)
    if diagnosis.note is not None:
        rows.append(
            (words("diagnosis.settle"), Content.styled(words.of(diagnosis.note), "$detail"))
        )
    return rows


def fix_rows(finding: Finding, words: Words, room: int) -> list[Row]:
    """Return the first ways out."""
    fixes = [
        marked((str(number), "$primary"), Content.styled(words.of(fix.title), "$value"), room)
        for number, fix in enumerate(finding.fixes[:_MAX_FIXES], 1)
    ]
    return _labelled(words("diagnosis.fix"), fixes)


def _labelled(label: str, values: Iterable[Content]) -> list[Row]:
    return [(label if number == 0 else "", value) for number, value in enumerate(values)]


def _column(words: Words) -> int:
    """Return the width of the labels with the gap behind them, whichever of them stand there."""
    return 2 + max(cell_len(words(f"diagnosis.{label}")) for label in _LABELS)


def _detail(sentence: str) -> Content:
    return Content.styled(_bare(sentence), "$detail")


def _bare(sentence: str) -> str:
    """Return a sentence without its full stop: it stands in a row of its own."""
    return sentence.strip().rstrip("。.")


def confidence(share: float, words: Words) -> Content:
    """Return how sure the diagnosis is."""
    style = "$healthy" if share >= 0.75 else ("$caution" if share >= 0.4 else "$label")
    grade = "sure" if share >= 0.75 else ("likely" if share >= 0.4 else "maybe")
    return line(
        (words(f"diagnosis.{grade}"), "$value"),
        (f"  {words('diagnosis.confidence')} {figures.percent(share)}", style),
    )
