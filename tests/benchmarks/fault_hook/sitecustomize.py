"""Found by every interpreter that has this folder on PYTHONPATH: breaks the ranks, and nobody else."""

from __future__ import annotations

import os

if os.environ.get("TUTOR_FAULT") and os.environ.get("LOCAL_RANK"):
    from tests.benchmarks.fault_sabotage import lie_in_wait

    lie_in_wait(os.environ["TUTOR_FAULT"])
