"""What the supervisor sees with its own eyes: no log holds it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.findings import Finding
from tutor_agent.diagnose.faults import find_fault
from tutor_agent.diagnose.rank import fix_of
from tutor_agent.diagnose.signs import Scene

if TYPE_CHECKING:
    from tutor_agent.core.findings import Severity
    from tutor_agent.core.text import Text
    from tutor_agent.diagnose.observations import Observations

_VMSTAT = Path("/proc/vmstat")


def finding_from_card(
    slug: str,
    evidence: tuple[Text, ...],
    seen: Observations,
    *,
    confidence: float,
    severity: Severity,
    step: int,
) -> Finding:
    """Make a finding of a fault card out of evidence that no sign of the card can show."""
    card, scene = find_fault(slug), Scene(seen)
    return Finding(
        cause=slug,
        title=card.title,
        severity=severity,
        confidence=confidence,
        evidence=evidence,
        fixes=tuple(fix for one in card.fixes if (fix := fix_of(one, scene)) is not None),
        step=step,
    )


def memory_kills() -> int:
    """Return how many processes this system has killed for want of memory since it started."""
    try:
        lines = _VMSTAT.read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("oom_kill ")), 0)
