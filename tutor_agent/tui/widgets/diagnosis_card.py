"""What went wrong: evidence, verdict, and the way out."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.changes import change_words
from tutor_agent.tui.paint import dotted, hanging, line, lines, wrap
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.choices import Choice

if TYPE_CHECKING:
    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.core.findings import Finding
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

_SEVERITY_STYLE = {"stop": "$trouble", "warn": "$caution", "hint": "$detail"}
_MAX_EVIDENCE = 3


class DiagnosisCard(Card):
    """One finding, with a proposal when the tutor can repair it."""

    trouble = True

    def __init__(self, finding: Finding, proposal: FixProposal | None = None) -> None:
        self.finding = finding
        self.proposal = proposal
        super().__init__()

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
        """Draw the fault, what speaks for it, and the way out."""
        finding = self.finding
        style = f"bold {_SEVERITY_STYLE[finding.severity]}"
        head = [
            Content.styled(p.plain, style) for p in wrap(Content(words.of(finding.title)), width)
        ]
        evidence = [(_bare(words.of(text)), "$detail") for text in finding.evidence[:_MAX_EVIDENCE]]
        rows: list[Row] = [(words("diagnosis.evidence"), dotted(evidence))] if evidence else []
        rows += [
            (words("diagnosis.against") if n == 0 else "", Content.styled(words.of(t), "$detail"))
            for n, t in enumerate(finding.against[:1])
        ]
        rows.append((words("diagnosis.verdict"), confidence(finding.confidence, words)))
        rows += self._way_out(words)
        return lines(*head, hanging(rows, width))

    def _way_out(self, words: Words) -> list[Row]:
        label = words("diagnosis.fix")
        proposal = self.proposal
        if proposal is None:
            fixes = [
                Content.styled(words.of(fix.title), "$value") for fix in self.finding.fixes[:3]
            ]
            return [(label if n == 0 else "", fix) for n, fix in enumerate(fixes)]
        rows: list[Row] = [(label, Content.styled(words.of(proposal.fix.title), "$value"))]
        steps = change_words(proposal.before, proposal.after, words)
        if proposal.resume_from:
            name = PurePath(proposal.resume_from).name
            steps.append(Content.styled(words("diagnosis.resume", checkpoint=name), "$detail"))
        return [*rows, ("", dotted(steps))] if steps else rows


def _bare(sentence: str) -> str:
    """Return a sentence without its full stop: several stand in one row."""
    return sentence.strip().rstrip("。.")


def confidence(share: float, words: Words) -> Content:
    """Return how sure the diagnosis is."""
    style = "$healthy" if share >= 0.75 else ("$caution" if share >= 0.4 else "$label")
    grade = "sure" if share >= 0.75 else ("likely" if share >= 0.4 else "maybe")
    return line(
        (words(f"diagnosis.{grade}"), "$value"),
        (f"  {words('diagnosis.confidence')} {figures.percent(share)}", style),
    )
