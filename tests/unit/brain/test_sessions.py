from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tutor_agent.brain.history import CallEntry, NoticeEntry, ResultEntry, TutorEntry, UserEntry
from tutor_agent.brain.sessions import (
    list_sessions,
    new_session,
    open_session,
    to_markdown,
)
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hf_" + "a" * 30


def test_every_entry_is_on_disk_at_once(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words="你好"))
    session.add(TutorEntry(words="你好"))
    assert open_session(tmp_path, session.id).entries == session.entries


def test_a_line_cut_by_a_crash_is_left_out(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words="hello"))
    with session.path.open("a", encoding="utf-8") as stream:
        stream.write('{"kind":"tutor","wor')
    opened = open_session(tmp_path, session.id)
    assert [entry.kind for entry in opened.entries] == ["user"]
    opened.add(TutorEntry(words="hi"))
    assert [e.kind for e in open_session(tmp_path, session.id).entries] == ["user", "tutor"]


def test_an_unanswered_call_is_denied_when_the_session_is_opened(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words="start"))
    session.add(CallEntry(call="c1", tool="start_run"))
    opened = open_session(tmp_path, session.id)
    last = opened.entries[-1]
    assert isinstance(last, ResultEntry)
    assert last.outcome == "denied"
    assert open_session(tmp_path, session.id).entries == opened.entries


def test_credentials_never_reach_the_disk(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words=f'my token="{SECRET}" and token={SECRET}"quoted\nnext'))
    session.add(CallEntry(call="c", tool="look_up", arguments={"question": f"what is {SECRET}"}))
    stored = session.path.read_text(encoding="utf-8")
    assert SECRET not in stored
    assert "[secret]" in stored
    assert all(json.loads(line) for line in stored.splitlines())
    assert SECRET not in to_markdown(session, "en")


def test_sessions_are_listed_latest_first_with_their_first_words(tmp_path: Path) -> None:
    import os

    first, second = new_session(tmp_path), new_session(tmp_path)
    first.add(UserEntry(words="the first question " + "x" * 100))
    second.add(UserEntry(words="第二个"))
    second.add(UserEntry(words="again"))
    os.utime(first.path, (1, 1))
    infos = list_sessions(tmp_path)
    assert [info.id for info in infos] == [second.id, first.id]
    assert infos[0].title == "第二个"
    assert infos[0].turns == 2
    assert len(infos[1].title) == 60
    assert list_sessions(tmp_path / "elsewhere") == ()


def test_an_unknown_session_names_the_known_ones(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words="x"))
    with pytest.raises(NotFoundError, match=session.id):
        open_session(tmp_path, "../../etc/passwd")


def test_the_export_reads_as_a_dialogue_in_one_language(tmp_path: Path) -> None:
    session = new_session(tmp_path)
    session.add(UserEntry(words="看看\n机器"))
    session.add(CallEntry(call="c", tool="inspect_machine"))
    result = Text(en="No GPU.", zh="没有 GPU。")
    session.add(ResultEntry(call="c", tool="inspect_machine", summary=result))
    session.add(
        NoticeEntry(run="r-1", happened="halted", text=Text(en="r-1 halted.", zh="r-1 暂停。"))
    )
    session.add(TutorEntry(words="没有显卡。"))
    path = tmp_path / "talk.md"
    session.export(path, "zh")
    text = path.read_text(encoding="utf-8")
    assert "> 看看\n> 机器" in text
    assert "✓ 没有 GPU。" in text
    assert "*r-1 暂停。*" in text
    assert "No GPU" not in text
