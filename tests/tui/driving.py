"""Steps that several tests of the app take."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from textual.pilot import Pilot
    from textual.widget import Widget

    from tutor_agent.tui.app import TutorApp

WIDE, NARROW = (120, 36), (80, 24)
AnyWidget = TypeVar("AnyWidget", bound="Widget")


async def until(pilot: Pilot[None], condition: Callable[[], object], seconds: float = 15) -> None:
    """Let the app work until `condition` holds; fail when it never does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the app never got there"
        await pilot.pause(0.02)


async def ready(pilot: Pilot[None], app: TutorApp) -> None:
    """Wait for the first paint."""
    await until(
        pilot, lambda: app.is_running and app.screen is app.main and app.transcript.children
    )


async def say(pilot: Pilot[None], app: TutorApp, words: str) -> None:
    """Type and send, and wait until the tutor has answered or waits for an answer."""
    app.main.prompt.write(words)
    app.main.prompt.area.focus()
    await pilot.press("enter")
    await until(pilot, lambda: not app.talker.busy or app.transcript.open_cards())
    await pilot.pause()


def text_of(app: TutorApp) -> str:
    """Return what the screen shows, row by row."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def one(app: TutorApp, kind: type[AnyWidget]) -> AnyWidget:
    """Return the newest widget of a kind."""
    return list(app.main.query(kind))[-1]
