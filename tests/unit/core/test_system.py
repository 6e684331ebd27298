"""Processes, places and secrets."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.advice import Why, load_why, save_why
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.processes import identify, is_alive, record, recorded
from tutor_agent.core.redact import redact
from tutor_agent.core.resources import bundled, cache_dir, config_dir, runs_dir, state_dir
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path


def test_a_process_is_known_by_its_start(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    identity = identify(process.pid, "rank-0")
    record(tmp_path / "rank.json", identity)
    assert recorded(tmp_path / "rank.json") == identity
    assert is_alive(identity)
    assert not is_alive(identity.model_copy(update={"started": identity.started - 60}))
    process.communicate(b"\n")
    assert not is_alive(identity)


def test_nothing_recorded(tmp_path: Path) -> None:
    assert recorded(tmp_path / "none.json") is None
    (tmp_path / "bad.json").write_text("{", encoding="utf-8")
    assert recorded(tmp_path / "bad.json") is None


@pytest.mark.parametrize(
    "secret",
    [
        "hf_" + "a" * 30,
        "sk-" + "b" * 20,
        "ghp_" + "c" * 24,
        "AKIA" + "D" * 16,
        "Bearer " + "e" * 20,
        "token=" + "f" * 10,
    ],
)
def test_secrets_do_not_survive(secret: str) -> None:
    hidden = redact(f"before {secret} after")
    assert secret.split("=")[-1].split()[-1] not in hidden
    assert hidden.startswith("before ")
    assert hidden.endswith(" after")


def test_plain_words_survive() -> None:
    words = "loss 1.25 at step 10, deepseek-ai/deepseek-llm-7b-chat"
    assert redact(words) == words


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(tmp_path / "config"))
    assert cache_dir() == tmp_path / "cache"
    assert config_dir() == tmp_path / "config"
    assert runs_dir(tmp_path) == tmp_path / "runs"
    assert state_dir(tmp_path) == tmp_path / ".tutor"
    assert (bundled("knowledge") / "models").is_dir()
    with pytest.raises(NotFoundError, match="pip install"):
        bundled("nowhere")


def test_reasons_round_trip(tmp_path: Path) -> None:
    why = {
        "optim.learning_rate": Why(reason=Text(en="small", zh="小"), source="paper", assumed=True)
    }
    save_why(why, tmp_path / "why.yaml")
    assert load_why(tmp_path / "why.yaml") == why
    assert load_why(tmp_path / "none.yaml") == {}
