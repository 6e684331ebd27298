"""Follow the log of any training tool and say what goes wrong as soon as it shows."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tutor_agent.cli.render import finding_lines
from tutor_agent.core.text import Text
from tutor_agent.diagnose.rank import diagnose
from tutor_agent.diagnose.readers import read_path

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.cli.output import Output


def follow_log(path: Path, output: Output, *, poll_seconds: float = 2.0) -> int:
    """Diagnose `path` anew whenever it has grown; ends on Ctrl-C."""
    output.say(Text(en=f"watching {path} (Ctrl-C ends)", zh=f"正在查看 {path}（按 Ctrl-C 结束）"))
    known: set[str] = set()
    seen = -1
    while True:
        size = _size(path)
        if size != seen:
            seen = size
            result = diagnose(read_path(path), language=output.language)
            for finding in result.findings:
                if finding.cause not in known:
                    known.add(finding.cause)
                    output.lines(finding_lines(finding, output.language))
        time.sleep(poll_seconds)


def _size(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(item.stat().st_size for item in path.rglob("*") if item.is_file())
