"""What a run shows: its events, and the ends of its newest logs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tutor_agent.diagnose.readers import read_run_events, read_text
from tutor_agent.runs.fates import tail
from tutor_agent.runs.follow import Follower

if TYPE_CHECKING:
    from tutor_agent.diagnose.observations import Observations
    from tutor_agent.runs.folder import RunFolder

_MOST_LOGS = 8
# Whether memory was short when a rank was killed is known from the kernel's own count (see `fates`);
# that it was killed says nothing about why.
_KILLED = re.compile(r"exitcode\s*:\s*-9|\bSIGKILL\b|Signal 9\b")


def observe(folder: RunFolder) -> Observations:
    """Read the events of a run and the ends of the logs of its newest attempt."""
    logs = folder.attempt(folder.last_attempt())
    texts = [tail(path) for path in sorted(logs.glob("rank-*.log"))[:_MOST_LOGS]]
    texts.append(tail(logs / "launcher.log"))
    seen = read_run_events(Follower(folder).poll(), folder.load_plan())
    lines = (line for line in read_text("\n".join(texts)).lines if not _KILLED.search(line))
    seen.lines = (*seen.lines, *lines)
    return seen
