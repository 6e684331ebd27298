"""The person's configuration: `config.toml` in the configuration folder, overridden by the environment."""

from __future__ import annotations

import locale
import os
import tomllib
from typing import Any, Literal

from pydantic import Field

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.resources import config_dir
from tutor_agent.core.text import Language

OLLAMA = "http://localhost:11434/v1"


class LlmSettings(Contract):
    """How to reach a language model. Keys are never stored: `api_key_env` names a variable."""

    provider: Literal["deepseek", "openai", "ollama", "none"]
    """deepseek; openai for any compatible server; ollama; none for the built-in brain alone."""
    model: str = ""
    """Name of the model at the provider."""
    base_url: str | None = None
    """Address of the server; the provider's own when absent."""
    api_key_env: str | None = None
    """Environment variable that holds the key."""
    timeout: float = Field(default=120.0, gt=0)
    """Seconds until a request is given up."""
    first_word: float = Field(default=60.0, gt=0)
    """Seconds until the first word must have come."""
    requests: int = Field(default=30, ge=1)
    """Requests to the model in one turn at most."""
    turns: int = Field(default=20, ge=1)
    """Earlier turns that are sent along."""
    share_rows: bool = False
    """Whether rows of your data may be sent to the model."""


class Settings(Contract):
    """Everything that is remembered between sessions."""

    language: Language | None = None
    """Language of the conversation; that of the system when absent."""
    llm: LlmSettings | None = None
    """The language model, if one is used."""

    def speak(self) -> Language:
        """Return the language to begin in."""
        if self.language:
            return self.language
        system = os.environ.get("LC_ALL") or os.environ.get("LANG") or locale.getlocale()[0] or ""
        return "zh" if system.lower().startswith("zh") else "en"


def load_settings() -> Settings:
    """Read the configuration; a missing file gives the defaults.

    Raises:
        UnreadableError: The file is not TOML.
        InvalidPlanError: A key or a value is not allowed.
    """
    path = config_dir() / "config.toml"
    data: dict[str, Any] = {}
    if path.is_file():
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{path} is not readable TOML: {error}. Mend that line or remove the file.",
                f"{path} 不是可读的 TOML：{error}。请修正该行或删除该文件。",
            ) from None
    if isinstance(data.get("llm"), dict):
        data["llm"] = with_usual(data["llm"])
    if language := os.environ.get("TUTOR_LANG"):
        data["language"] = language
    return Settings.parse(data, str(path))


def with_usual(llm: dict[str, Any]) -> dict[str, Any]:
    """Fill in what follows from the provider: its address, its model, the name of its key."""
    usual = {
        "deepseek": {"model": "deepseek-chat", "api_key_env": "DEEPSEEK_API_KEY"},
        "openai": {"api_key_env": "OPENAI_API_KEY"},
        "ollama": {"base_url": OLLAMA, "model": "qwen3"},
    }
    return {**usual.get(str(llm.get("provider")), {}), **llm}
