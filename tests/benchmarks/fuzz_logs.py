"""Damage logs by chance, always the same way for one seed: cut, repeat, swap, flip, and mix them.

Run it to read many: python tests/benchmarks/fuzz_logs.py [--count 300]. The tests read twenty.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
from pathlib import Path

from tests.benchmarks.log_speed import mixed_lines
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_path

_TRACEBACK = """Traceback (most recent call last):
  File "train.py", line 41, in <module>
    trainer.train()
torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.
"""
_NASTY = (
    b"\x00", b"\xff\xfe", b"\r", b"\x1b[", b"\x1b]0;", b"{'loss': ", b'{"log_history": [', b"{" * 3000, b"[" * 3000,
    b"1e99999", b"-inf", "损失：".encode(), "损失".encode("gb18030"), b"\n" * 50, b"9" * 5000, b"loss loss loss 1 2 3",
    b"--a=" * 500, b'{"v":1,"kind":"step","seq":', b"\xe6\x90", b"|" * 2000, b"step,loss\n1,", b" -> " * 500,
)  # fmt: skip


def whole_log(seed: int) -> bytes:
    """Return a sound log of one of three kinds."""
    chance = random.Random(seed)
    lines = list(itertools.islice(mixed_lines(seed), 400))
    if seed % 3 == 0:
        history = [{"loss": 2 - i / 100, "step": i, "epoch": i / 50} for i in range(90)]
        return json.dumps({"log_history": history}, indent=chance.choice([None, 2])).encode()
    if seed % 3 == 1:
        events = [
            json.dumps(
                {
                    "v": 1,
                    "run": "a",
                    "attempt": 0,
                    "seq": i,
                    "t": i,
                    "step": i,
                    "kind": "step",
                    "loss": 2.0,
                }
            )
            for i in range(90)
        ]
        lines = [*events, *lines]
    return "\n".join([*lines, _TRACEBACK]).encode()


def damaged(seed: int) -> bytes:
    """Return a log that has been damaged in several places."""
    chance = random.Random(seed)
    log = bytearray(whole_log(seed))
    for _ in range(chance.randint(3, 30)):
        place = chance.randrange(len(log))
        end = min(len(log), place + chance.randint(1, 400))
        match chance.randrange(5):
            case 0:
                del log[place:end]
            case 1:
                log[place:place] = log[place:end]
            case 2:
                log[place:end] = bytes(chance.randrange(256) for _ in range(end - place))
            case 3:
                log[place:place] = chance.choice(_NASTY)
            case _:
                log[place:end] = bytes(reversed(log[place:end]))
        log = log or bytearray(b"\x00")
    return bytes(log[: chance.randint(len(log) // 2, len(log))])


def main() -> int:
    """Read damaged logs; a crash ends the program with its traceback."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(options.count):
            for name in ("train.log", "trainer_state.json", "events.out.tfevents.1.host"):
                path = Path(folder) / name
                path.write_bytes(damaged(seed))
                diagnose(read_path(path))
    print(f"{3 * options.count} damaged logs read")
    return 0


if __name__ == "__main__":
    sys.exit(main())
