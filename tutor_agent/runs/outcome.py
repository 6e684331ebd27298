"""Whether a repair worked: the repaired run is watched for the fault of its parent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.diagnose.repair import is_gone
from tutor_agent.runs.folder import RunFolder
from tutor_agent.runs.follow import Follower

if TYPE_CHECKING:
    from tutor_agent.core.findings import Finding


def fault_gone(folder: RunFolder) -> bool | None:
    """Say whether the fault that this run repairs is gone; None when it repairs nothing or is too young."""
    finding = repaired_finding(folder)
    return None if finding is None else is_gone(finding, Follower(folder).poll())


def repaired_finding(folder: RunFolder) -> Finding | None:
    """Return what was wrong with the parent and is repaired here; None for any other run."""
    lineage = folder.load_lineage()
    if lineage.parent is None or lineage.cause is None:
        return None
    parent = RunFolder(folder.path.parent / lineage.parent)
    return next((f for f in parent.load_findings() if f.cause == lineage.cause), None)
