"""A rank ends with its code, after its exit handlers, and without tearing the interpreter down."""

from __future__ import annotations

import subprocess
import sys

_RANK = """
import atexit, sys, threading, time
from tutor_agent.core.ranks import leave_rank

class Late:
    def __del__(self):
        sys.stdout.write("torn down\\n")
        sys.stdout.flush()

def work():
    threading.Event().wait(0.2)
    sys.stdout.write("thread\\n")

kept = Late()
atexit.register(sys.stdout.write, "handler\\n")
threading.Thread(target=work).start()
leave_rank(7)
"""


def test_a_rank_ends_without_tearing_the_interpreter_down() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _RANK], capture_output=True, text=True, check=False
    )
    assert done.returncode == 7, done.stderr
    assert done.stdout.split() == ["thread", "handler"]
