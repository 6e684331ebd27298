"""The person's configuration: `config.toml` in the configuration folder, overridden by the environment."""

from __future__ import annotations

import locale
import os
import tomllib
from typing import Literal

from pydantic import Field

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.resources import config_dir
from tutor_agent.core.text import Language


class LLMSettings(Contract):
    """A language model that may talk in place of the built-in brain. Keys come from the environment only."""

    provider: Literal["deepseek", "openai", "ollama"]
    """Kind of server: DeepSeek's API, any OpenAI-compatible one, or Ollama."""
    model: str
    """Model name as the server knows it."""
    base_url: str | None = None
    """Address of the server; the provider's own when absent."""
    key_env: str | None = None
    """Name of the environment variable that holds the key."""
    send_data: bool = False
    """Whether rows of your data may be sent to this server."""
    request_limit: int = Field(default=30, ge=1)
    """Requests in one turn at most."""


class Settings(Contract):
    """Everything that is remembered between sessions."""

    language: Language | None = None
    """Language of the conversation; that of the system when absent."""
    theme: Literal["dark", "light"] = "dark"
    """Colours of the app."""
    llm: LLMSettings | None = None
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
    data: dict[str, object] = {}
    if path.is_file():
        try:
            data = tomllib.loads(path.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise UnreadableError(
                f"{path} is not readable TOML: {error}. Mend that line or remove the file.",
                f"{path} 不是可读的 TOML：{error}。请修正该行或删除该文件。",
            ) from None
    language = os.environ.get("TUTOR_LANG")
    return Settings.parse({**data, **({"language": language} if language else {})}, str(path))
