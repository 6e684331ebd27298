"""Whether a repair worked: the repaired run is watched for the fault of its parent."""

from __future__ import annotations

from tutor_agent.core.findings import Finding
from tutor_agent.core.text import Text
from tutor_agent.diagnose.repair import Verification
from tutor_agent.runs.folder import RunFolder


def begin_verification(folder: RunFolder) -> Verification | None:
    """Return the watch for the fault that this run repairs; None for a run that repairs nothing."""
    finding = repaired_finding(folder)
    return None if finding is None else Verification(finding)


def repaired_finding(folder: RunFolder) -> Finding | None:
    """Return what was wrong with the parent and is repaired here; None for any other run."""
    lineage = folder.load_lineage()
    if lineage.parent is None or lineage.cause is None:
        return None
    parent = RunFolder(folder.path.parent / lineage.parent)
    known = next((f for f in parent.load_findings() if f.cause == lineage.cause), None)
    # A parent that was resumed has put its findings aside: the fault is known by name alone.
    return known or Finding(
        cause=lineage.cause, title=Text.same(lineage.cause), confidence=1, evidence=()
    )
