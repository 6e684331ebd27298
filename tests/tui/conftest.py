"""The app's tests own what it sees: the machine, and the conversation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.tui.scenes import MACHINE, ScriptedTalk
from tutor_agent.actions.context import Context
from tutor_agent.tui import app as app_module
from tutor_agent.tui import watching
from tutor_agent.tui.app import TutorApp

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tutor_agent.core.text import Language


@pytest.fixture(autouse=True)
def _own_hardware(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "see_machine", lambda context: MACHINE)
    monkeypatch.setattr(watching, "gpu_load", tuple)


@pytest.fixture
def make_app(tmp_path: Path) -> Callable[..., TutorApp]:
    """Return a maker of apps in an empty workspace, with a scripted conversation."""

    def make(
        language: Language = "zh",
        talk: type[ScriptedTalk] = ScriptedTalk,
        session: str | None = None,
        *,
        chosen: bool = True,
    ) -> TutorApp:
        spoken = language if chosen else None
        return TutorApp(Context(tmp_path, language), session, talk=talk, language=spoken)

    return make
