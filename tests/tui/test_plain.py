from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from tests.tui.scenes import PlanningTalk, ScriptedTalk
from tutor_agent.actions.context import Context
from tutor_agent.brain.talk import Verdict
from tutor_agent.tui.plain import run_plain

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.brain.sessions import Session


def talk_plainly(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    workspace: Path,
    typed: str,
    kind: type[ScriptedTalk] = ScriptedTalk,
) -> tuple[str, ScriptedTalk]:
    talks: list[ScriptedTalk] = []

    def make(context: Context, session: Session) -> ScriptedTalk:
        talks.append(kind(context, session))
        return talks[-1]

    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    run_plain(Context(workspace, "en"), talk=make)
    return capsys.readouterr().out, talks[-1]


def test_lines_are_answered_until_the_input_ends(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, talk = talk_plainly(monkeypatch, capsys, tmp_path, "hello\n\n你好\n")
    assert talk.heard == ["hello", "你好"]
    assert "echo: hello\n" in out
    assert "\x1b" not in out


def test_exit_leaves(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    _, talk = talk_plainly(monkeypatch, capsys, tmp_path, "exit\nnever\n")
    assert talk.heard == []


@pytest.mark.parametrize(
    ("typed", "verdict"),
    [("y", Verdict.once), ("always", Verdict.always), ("n", Verdict.no), ("", Verdict.no)],
)
def test_approval_by_a_word(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    typed: str,
    verdict: Verdict,
) -> None:
    answer = f"{typed}\n" if typed else ""
    out, talk = talk_plainly(monkeypatch, capsys, tmp_path, f"Start it\n{answer}", PlanningTalk)
    assert talk.verdicts == [verdict]
    assert "Allow? [y/n/always]" in out


def test_plan_is_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out, _ = talk_plainly(monkeypatch, capsys, tmp_path, "plan please\n", PlanningTalk)
    assert "LR: 2e-4" in out
    assert "✓ 4×A100-80G" in out
    assert "━" not in out
