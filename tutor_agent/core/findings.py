"""What went wrong, and what can be done about it."""

from __future__ import annotations

from typing import Literal

from tutor_agent.core.changes import PlanChange
from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

Severity = Literal["stop", "warn", "hint"]


class Fix(Contract):
    """One way out.

    Honesty contract: a `safe` fix never changes method, data, sequence length or effective batch;
    whatever does is `ask`. `manual` is something only the person can do.
    """

    id: str
    """Stable name inside its fault card."""
    safety: Literal["safe", "ask", "manual"]
    """Who may apply it."""
    title: Text
    """What is done, in one sentence."""
    change: PlanChange = PlanChange()
    """How the plan changes; empty for a manual fix."""
    resume: Literal["last_good", "start", "none"] = "last_good"
    """Where the repaired run begins."""


class Finding(Contract):
    """A fault, named, with evidence."""

    cause: str
    """Slug of a fault card."""
    title: Text
    """The fault in one sentence."""
    severity: Severity = "stop"
    """stop: the run is useless as it is; warn: act soon; hint: worth knowing."""
    confidence: float
    """0..1."""
    evidence: tuple[Text, ...]
    """What speaks for it, with numbers and steps."""
    against: tuple[Text, ...] = ()
    """What speaks against it."""
    fixes: tuple[Fix, ...] = ()
    """Ways out, best first."""
    step: int | None = None
    """The optimizer step at which it showed."""


class Diagnosis(Contract):
    """The verdict over a log or a run."""

    verdict: Literal["fault", "healthy", "unknown"]
    """`healthy` has no causes; `unknown` says what to look at next."""
    language: Literal["en", "zh"]
    """The language of the person's words."""
    findings: tuple[Finding, ...] = ()
    """Best first."""
    note: Text | None = None
    """What was read, and the next cheapest probe."""
    story: tuple[Text, ...] = ()
    """For a run of ours that was halted: how it came about, a sentence each."""
