"""Drawings that fill a page: a plan with its reasons, the difference of two plans, the help."""

from __future__ import annotations

from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.core.changes import flatten
from tutor_agent.tui import figures
from tutor_agent.tui.changes import change_words, changed_fields, field_name, value_words
from tutor_agent.tui.commands import COMMANDS
from tutor_agent.tui.paint import hanging, line, lines, wrap
from tutor_agent.tui.widgets.piece import Piece
from tutor_agent.tui.widgets.plan_card import FIT_STYLE, identity, plan_rows

if TYPE_CHECKING:
    from pydantic import JsonValue

    from tutor_agent.actions.fix import FixProposal
    from tutor_agent.core.advice import Advice, Candidate, Why
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

KEYS = (
    ("⏎", "help.send"),
    ("shift+⏎ · ctrl+j", "help.newline"),
    ("↑ ↓", "help.history"),
    ("/  @", "help.complete"),
    ("esc", "help.interrupt"),
    ("tab", "help.cards"),
    ("pgup pgdn", "help.scroll"),
    ("F1", "help.help"),
    ("F2", "help.page"),
    ("F3", "help.language"),
    ("F4", "help.theme"),
    ("ctrl+r", "help.sessions"),
    ("ctrl+q", "help.quit"),
)


class PlanPaper(Piece):
    """A plan in full: rows, what was weighed, the reason of every value."""

    def __init__(self, advice: Advice | None = None) -> None:
        super().__init__()
        self.advice = advice

    def show(self, advice: Advice) -> None:
        """Show another plan."""
        self.advice = advice
        self.refresh(layout=True)

    def paint(self, width: int) -> Content:
        """Draw everything, or what to do when there is no plan."""
        words, advice = self.words, self.advice
        if advice is None:
            return lines(*wrap(Content.styled(words("plan.none"), "$detail"), width))
        parts = [
            Content.styled(identity(advice, words), "bold $value"),
            Content(""),
            hanging(plan_rows(advice, words, width), width),
        ]
        for text in (*advice.warnings, *advice.forecast.notes):
            sign = ("! ", "bold $caution") if text in advice.warnings else ("· ", "$label")
            pieces = wrap(Content.styled(words.of(text), "$detail"), width - 2)
            parts += [line(sign if n == 0 else "  ", piece) for n, piece in enumerate(pieces)]
        if advice.candidates:
            parts += ["", Content.styled(words("plan.candidates"), "bold $primary"), ""]
            parts += [_candidate(c, words, width) for c in advice.candidates]
        parts += ["", Content.styled(words("plan.reasons"), "bold $primary")]
        values = flatten(advice.plan)
        for path, why in advice.why.items():
            parts += ["", *_reason(path, values.get(path), why, words=words, width=width)]
        return lines(*(part if isinstance(part, Content) else Content(part) for part in parts))


class DiffPaper(Piece):
    """What a repair changes in the plan, and where it begins."""

    def __init__(self, proposal: FixProposal) -> None:
        super().__init__()
        self.proposal = proposal

    def paint(self, width: int) -> Content:
        """Draw the change in words, then as a difference of the two files."""
        words, proposal = self.words, self.proposal
        start = "approval.from_checkpoint" if proposal.resume_from else "approval.from_start"
        name = (proposal.resume_from or "").rpartition("/")[2]
        parts = [
            *wrap(Content.styled(words.of(proposal.fix.title), "bold $value"), width),
            Content(""),
            *change_words(proposal.before, proposal.after, words),
            Content.styled(words(start, checkpoint=name), "$detail"),
            Content.styled(words(f"safety.{proposal.fix.safety}"), "$detail"),
            Content(""),
            Content.styled("plan.yaml", "bold $primary"),
        ]
        for path, old, new in changed_fields(proposal.before, proposal.after):
            parts += _removed_and_added(path, old, new)
        return lines(*parts)


class HelpPaper(Piece):
    """Keys and commands."""

    def paint(self, width: int) -> Content:
        """Draw both lists."""
        words = self.words
        keys: list[Row] = [(sign, Content.styled(words(key), "$value")) for sign, key in KEYS]
        commands: list[Row] = [
            (f"/{c.name}", Content.styled(words(f"command.{c.name}"), "$value")) for c in COMMANDS
        ]
        return lines(
            *wrap(Content.styled(words("help.intro"), "$detail"), width),
            Content(""),
            Content.styled(words("help.keys"), "bold $primary"),
            hanging(keys, width),
            Content(""),
            Content.styled(words("help.commands"), "bold $primary"),
            hanging(commands, width),
        )


def _candidate(candidate: Candidate, words: Words, width: int) -> Content:
    price = candidate.forecast
    sign = ("✓ ", "$done") if candidate.recommended else ("· ", "$label")
    head = line(
        sign,
        (words.of(candidate.title), "bold $value" if candidate.recommended else "$value"),
        (f"  {figures.gib(price.peak_gib.expected)} GiB", "$detail"),
        (f"  {words(f'fits.{price.fits}')}", FIT_STYLE[price.fits]),
        (f"  ≈ {figures.duration(price.hours.expected * 3600, words.language)}", "$detail"),
    )
    verdict = wrap(Content.styled(words.of(candidate.verdict), "$detail"), max(8, width - 2))
    return lines(head.truncate(width, ellipsis=True), *(line("  ", part) for part in verdict))


def _reason(path: str, value: JsonValue, why: Why, *, words: Words, width: int) -> list[Content]:
    name = field_name(path, words)
    assumed = (f"  {words('plan.assumed')}", "$caution") if why.assumed else ""
    head = line(
        (name, "bold $value"),
        (f"  {value_words(value)}" if value is not None else "", "$primary"),
        (f"  {path}" if name != path else "", "$label"),
        assumed,
    )
    parts = wrap(Content.styled(words.of(why.reason), "$detail"), max(8, width - 2))
    if why.alternative:
        words_of_other = words("plan.alternative", text=words.of(why.alternative))
        parts += wrap(Content.styled(words_of_other, "$label"), max(8, width - 2))
    source = " · ".join(part for part in (why.source, why.card or "") if part)
    if source:
        parts += wrap(Content.styled(words("plan.source", source=source), "$label"), width - 2)
    return [head.truncate(width, ellipsis=True), *(line("  ", part) for part in parts)]


def _removed_and_added(path: str, old: JsonValue, new: JsonValue) -> list[Content]:
    *parents, leaf = path.split(".")
    indent = "  " * len(parents)
    rows = [Content.styled(f"  {':  '.join(parents)}:", "$label")] if parents else []
    if old is not None:
        rows.append(Content.styled(f"- {indent}{leaf}: {value_words(old)}", "$trouble"))
    if new is not None:
        rows.append(Content.styled(f"+ {indent}{leaf}: {value_words(new)}", "$done"))
    return rows
