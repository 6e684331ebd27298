"""Who ended a run when it was not the run itself: a scheduler's limit, a preemption, a person."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

_LAST_LINES = 60
_OF_ITSELF = 3
"""How many of the endings below come from the scheduler alone."""
_SAVE = Text(
    en="Go on from the last checkpoint; let the scheduler warn before the end (Slurm: --signal=TERM@90), so that one is saved.",
    zh="从最近的检查点继续；让调度器在结束前发信号（Slurm：--signal=TERM@90），以便先存一份检查点。",
)
_ENDINGS: tuple[tuple[re.Pattern[str], Text], ...] = (
    (
        re.compile(r"DUE TO TIME LIMIT|exceeded (?:its )?(?:wall ?time|time) limit|PBS: job killed: walltime", re.IGNORECASE),
        Text(
            en="The scheduler ended the job at its time limit. Ask for more time, or train in several jobs.",
            zh="作业到达时间上限，被调度器结束。请申请更长时间，或分成几个作业训练。",
        ),
    ),
    (
        re.compile(r"DUE TO PREEMPTION|\bpreempted\b.*\bjob\b|\bjob\b.*\bpreempted\b", re.IGNORECASE),
        Text(
            en="The scheduler took the nodes away for another job (preemption).",
            zh="节点被调度器让给了其他作业（抢占）。",
        ),
    ),
    (
        re.compile(r"DUE TO NODE FAILURE|NODE_FAIL\b|Node failure on", re.IGNORECASE),
        Text(
            en="A node of the job failed. Leave it out (--exclude) and report it.",
            zh="作业的一个节点出现故障。请排除该节点（--exclude）并报告管理员。",
        ),
    ),
    (
        re.compile(r"slurmstepd: error: \*\*\* (?:JOB|STEP) \S+ ON \S+ CANCELLED AT \S+ \*\*\*"),
        Text(
            en="The job was cancelled, by a person or because another of its tasks failed.",
            zh="作业被取消：有人取消了它，或者它的另一个任务失败了。",
        ),
    ),
    (
        re.compile(r"^KeyboardInterrupt\b"),
        Text(en="The run was interrupted by hand (Ctrl-C).", zh="训练被手动中断（Ctrl-C）。"),
    ),
)  # fmt: skip


def ending_of(lines: Sequence[str], *, failed: bool = False) -> Text | None:
    """Return who ended the run, as the last lines of its log tell; None when nothing of the kind is said.

    Of a run that `failed` by itself a scheduler cancels what is left: that is no news.
    """
    end = lines[-_LAST_LINES:]
    for pattern, told in _ENDINGS[: _OF_ITSELF if failed else None]:
        if any(pattern.search(line) for line in end):
            return Text(en=f"{told.en} {_SAVE.en}", zh=f"{told.zh}{_SAVE.zh}")
    return None
