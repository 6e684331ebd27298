"""Running a vendor's tool: the border that tests replace."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple


class Output(NamedTuple):
    """What a tool printed."""

    words: str
    ok: bool
    complaint: str = ""


def has_tool(name: str) -> bool:
    """Return whether a program of that name can be started."""
    return shutil.which(name) is not None


def run_tool(argv: list[str], seconds: float = 10.0) -> Output:
    """Run `argv` and return its output; a failure is an `Output` that is not ok."""
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=seconds, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        return Output("", ok=False, complaint=f"no answer within {seconds:.0f} s")
    except OSError as error:
        return Output("", ok=False, complaint=str(error))
    complaint = (done.stderr or done.stdout).strip().splitlines()
    return Output(
        done.stdout,
        ok=done.returncode == 0,
        complaint=complaint[0] if done.returncode and complaint else f"exit code {done.returncode}",
    )


def read_text(path: str) -> str:
    """Return the content of a system file, or nothing when it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
