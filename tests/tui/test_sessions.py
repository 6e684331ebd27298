from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from tests.tui.driving import NARROW, WIDE, ready, say, text_of, until
from tutor_agent.brain.history import CallEntry, ResultEntry, TutorEntry, UserEntry
from tutor_agent.brain.sessions import new_session
from tutor_agent.core.text import Text
from tutor_agent.tui.guard import guarded_stderr

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

    from tutor_agent.tui.app import TutorApp

    MakeApp = Callable[..., TutorApp]


def saved_session(workspace: Path) -> str:
    session = new_session(workspace)
    session.add(UserEntry(words="微调一个客服模型"))
    session.add(CallEntry(call="1", tool="inspect_machine"))
    found = Text(en="4 GPUs", zh="4 张 GPU")
    session.add(ResultEntry(call="1", tool="inspect_machine", summary=found))
    session.add(TutorEntry(words="先看**数据**。"))
    return session.id


async def test_saved_session_is_drawn_again(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app("zh", session=saved_session(tmp_path))
    async with app.run_test(size=NARROW) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "先看数据。" in text_of(app))
        shown = text_of(app)
        assert "微调一个客服模型" in shown
        assert "✓ " in shown
        assert "4 张 GPU" in shown


async def test_session_is_chosen_from_the_list(make_app: MakeApp, tmp_path: Path) -> None:
    saved = saved_session(tmp_path)
    app = make_app("zh")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await pilot.press("ctrl+r")
        await until(pilot, lambda: app.screen is not app.main)
        await until(pilot, lambda: "微调一个客服模型" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: app.session.id == saved)
        await until(pilot, lambda: "先看数据。" in text_of(app))
        await say(pilot, app, "/new")
        assert app.session.id != saved
        await until(pilot, lambda: "你好，我是微调导师" in text_of(app))


async def test_export_writes_markdown(make_app: MakeApp, tmp_path: Path) -> None:
    app = make_app("zh", session=saved_session(tmp_path))
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await say(pilot, app, "/export talk.md")
        await until(pilot, lambda: "talk.md" in text_of(app))
    assert "先看**数据**" in (tmp_path / "talk.md").read_text(encoding="utf-8")


async def test_a_new_conversation_begins_in_the_language_of_the_last_one(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TUTOR_LANG", raising=False)
    assert make_app("en", chosen=False).words.language == "en"
    saved = saved_session(tmp_path)
    assert make_app("en", chosen=False).words.language == "zh"
    assert make_app("en", chosen=False, session=saved).words.language == "zh"
    assert make_app("en").words.language == "en"
    app = make_app("en", chosen=False)
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        await until(pilot, lambda: "你好，我是微调导师" in text_of(app))
        assert app.context.language == "zh"


def test_a_configured_language_is_begun_in(
    make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved_session(tmp_path)
    monkeypatch.setenv("TUTOR_LANG", "en")
    assert make_app("en", chosen=False).words.language == "en"


def test_stray_output_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "stderr.log"
    with guarded_stderr(log):
        os.write(2, b"noise of a library\n")
        assert sys.__stderr__ is not None
        sys.__stderr__.write("picture\n")
    os.write(2, b"after\n")
    assert log.read_text(encoding="utf-8") == "noise of a library\n"
    assert capfd.readouterr().err == "picture\nafter\n"


def test_importing_the_app_loads_nothing_heavy() -> None:
    code = (
        "import sys, tutor_agent.tui.app, tutor_agent.tui.plain\n"
        "heavy = {'torch', 'transformers', 'peft', 'accelerate', 'datasets', 'pydantic_ai', 'openai',"
        " 'pyarrow'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]"


def test_first_paint_loads_no_engine(tmp_path: Path) -> None:
    code = """
import asyncio, sys
from pathlib import Path
from tutor_agent.actions.context import Context
from tutor_agent.tui.app import TutorApp

class Late:
    answers_with = "builtin"
    def __init__(self, context, session): ...
    def load(self): ...

async def main():
    app = TutorApp(Context(Path(sys.argv[1]), "en"), talk=Late)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.2)
        print(sorted({"torch", "transformers", "pydantic_ai", "openai"} & set(sys.modules)))

asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
