"""Time the reading of a large mixed log: python tests/benchmarks/log_speed.py [--megabytes 100].

Writes a log as several tools would mix it (metric lines of four kinds, progress bars, two ranks, NCCL
chatter, warnings, colours), reads it, and prints seconds and the growth of resident memory.
"""

from __future__ import annotations

import argparse
import math
import random
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_path

if TYPE_CHECKING:
    from collections.abc import Iterator


def mixed_lines(seed: int) -> Iterator[str]:
    """Yield the lines of one run for ever."""
    chance = random.Random(seed)
    step = 0
    while True:
        step += 1
        loss = 1.1 + 1.2 * math.exp(-step / 4000) + chance.gauss(0, 0.05)
        rate = 2e-4 * min(1.0, step / 500)
        yield f"\x1b[32m[rank0]:\x1b[0m {{'loss': '{loss:.4g}', 'grad_norm': '{chance.uniform(0.4, 1.4):.4g}', 'learning_rate': '{rate:.4g}', 'epoch': '{step / 9000:.4g}'}}"
        yield f"\r {step % 100:3d}%|####      | {step}/99999 [10:11<9:11:07,  1.52it/s]\r {step % 100:3d}%|####      | {step + 1}/99999 [10:12<9:11:06,  1.52it/s]"
        yield f"[2025-01-01 00:00:00,000] [INFO] [logging.py:96:log_dist] [Rank 0] step={step}, skipped=0, lr=[{rate:.3e}], mom=[(0.9, 0.999)]"
        for _ in range(6):
            address = chance.randrange(16**8)
            yield f"node07:4242:4711 [{chance.randrange(8)}] NCCL INFO Channel {chance.randrange(32):02d}/0 : 0[0] -> 1[1] via P2P/CUMEM 0x{address:08x}"
        if step % 7 == 0:
            yield "/opt/conda/lib/python3.11/site-packages/torch/utils/checkpoint.py:87: UserWarning: a warning that a library repeats"
        if step % 50 == 0:
            yield f"{{'eval_loss': {loss + 0.1:.4f}, 'eval_runtime': 12.1, 'epoch': {step / 9000:.4f}}}"


def write_log(path: Path, megabytes: int, seed: int = 1) -> None:
    """Write about `megabytes` MB of a mixed log."""
    left = megabytes * 10**6
    with path.open("w", encoding="utf-8", newline="") as stream:
        for line in mixed_lines(seed):
            left -= len(line) + 1
            if left < 0:
                break
            stream.write(line + "\n")


def main() -> int:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=100)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "train.log"
        write_log(path, options.megabytes)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        started = time.perf_counter()
        seen = read_path(path)
        seconds = time.perf_counter() - started
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        print(
            f"{options.megabytes} MB read in {seconds:.1f} s; memory grew by {grown:.0f} MiB; "
            f"{len(seen.lines)} lines kept, points: "
            + ", ".join(f"{name} {len(series)}" for name, series in sorted(seen.series.items()))
        )
        started = time.perf_counter()
        verdict = diagnose(seen).verdict
        print(f"diagnosis: {verdict} in {time.perf_counter() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
