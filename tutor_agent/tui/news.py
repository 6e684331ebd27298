"""What has happened to a run between two looks, for the tutor to speak up about."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tutor_agent.brain.history import NoticeEntry
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.runs.view import RunView
    from tutor_agent.tui.watching import Snapshot

Ending = Literal["halted", "failed", "lost", "stopped", "completed"]
_ENDED: dict[str, tuple[Ending, Text]] = {
    "completed": (
        "completed",
        Text(en="{run} is complete at step {step}.", zh="{run} 已完成，共 {step} 步。"),
    ),
    "halted": (
        "halted",
        Text(en="{run} halted at step {step}.", zh="{run} 在第 {step} 步暂停。"),
    ),
    "stopped": (
        "stopped",
        Text(en="{run} stopped at step {step}.", zh="{run} 在第 {step} 步停止。"),
    ),
    "failed": (
        "failed",
        Text(en="{run} failed at step {step}.", zh="{run} 在第 {step} 步失败。"),
    ),
    "lost": (
        "lost",
        Text(en="{run} was lost at step {step}.", zh="{run} 在第 {step} 步失去联系。"),
    ),
}


def notices(snapshot: Snapshot) -> tuple[NoticeEntry, ...]:
    """Return the news of the followed run; a run that had ended before it was followed makes none."""
    view, before = snapshot.view, snapshot.before
    if view is None or before is None or before.name != view.name:
        return ()
    if before.active and view.state in _ENDED:
        return (_ending(view),)
    known = {finding.cause for finding in before.findings}
    return tuple(
        NoticeEntry(
            run=view.name,
            happened="finding",
            step=finding.step if finding.step is not None else view.step,
            text=finding.title,
            cause=finding.cause,
        )
        for finding in view.findings
        if finding.cause not in known and view.active
    )


def _ending(view: RunView) -> NoticeEntry:
    happened, text = _ENDED[view.state]
    cause = view.cause or (view.findings[0].cause if view.findings else None)
    said = text.format(run=view.name, step=view.step)
    if view.repaired_by is not None:
        return _repaired(view, said)
    if view.reason is not None and happened in {"failed", "lost"}:
        said = Text(en=f"{said.en} {view.reason.en}.", zh=f"{said.zh}{view.reason.zh}。")
    return NoticeEntry(
        run=view.name,
        happened=happened,
        step=view.step,
        text=said,
        cause=cause if happened != "completed" else view.cause,
    )


def _repaired(view: RunView, ended: Text) -> NoticeEntry:
    """The autopilot has gone on already: there is nothing to ask."""
    done = view.autopilot or Text.same(str(view.repaired_by))
    return NoticeEntry(
        run=view.name,
        happened="repaired",
        step=view.step,
        text=Text(
            en=f"{ended.en} {done.en[:1].upper()}{done.en[1:].rstrip('.')}.",
            zh=f"{ended.zh}{done.zh.rstrip('。')}。",
        ),
        cause=view.cause,
    )
