"""The tests own the machine: no configuration of the person's, no hub, one language, no stray colours."""

from __future__ import annotations

import gc
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["PYDANTIC_AI_NO_BANNER"] = "1"


def pytest_collection_finish() -> None:
    """Keep libraries and tests out of every later collection: each run of training asks for several."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _own_machine(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(home / "config"))
    monkeypatch.setenv("TUTOR_LANG", "en")
    for name in (
        "DEEPSEEK_API_KEY",
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "OLLAMA_HOST",
        "NO_COLOR",
    ):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command line sees as the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
