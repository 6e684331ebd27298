"""Fault cards."""

from __future__ import annotations

from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text


class Fault(Contract):
    """One thing that goes wrong, or looks as if it did."""

    slug: str
    """The cause it names."""
    title: Text
    """The fault in one sentence."""
    body: Text
    """Meaning, reasons, proof and prevention, as Markdown."""


def load_faults() -> tuple[Fault, ...]:
    """Return all fault cards."""
    return ()
