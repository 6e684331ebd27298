from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def own_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration, key or language model of the machine that runs the tests."""
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("TUTOR_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("DEEPSEEK_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name in ("OLLAMA_BASE_URL", "TUTOR_LLM", "TUTOR_LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
