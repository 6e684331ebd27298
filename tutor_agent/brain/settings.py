"""Which language model answers, if any: `[llm]` in config.toml, else the environment."""

from __future__ import annotations

import os
import tomllib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.resources import config_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_OLLAMA = "http://localhost:11434/v1"


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


def load_llm(environment: Mapping[str, str] | None = None) -> LlmSettings | None:
    """Return the settings, or None when only the built-in brain answers. `TUTOR_LLM=none` switches it off.

    Raises:
        UserError: The configuration file is broken.
    """
    values = os.environ if environment is None else environment
    if values.get("TUTOR_LLM") == "none":
        return None
    given = _from_file(config_dir() / "config.toml") or _from_environment(values)
    return None if given is None or given.provider == "none" else given


def _from_file(path: Path) -> LlmSettings | None:
    if not path.is_file():
        return None
    try:
        data: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UnreadableError(
            f"{path} is not readable TOML: {error}. Mend that line.",
            f"{path} 不是可读的 TOML：{error}。请修正该行。",
        ) from None
    table = data.get("llm")
    return LlmSettings.parse(_completed(table), f"{path} [llm]") if table else None


def _completed(table: dict[str, Any]) -> dict[str, Any]:
    """Fill in what follows from the provider."""
    usual = {
        "deepseek": {"model": "deepseek-chat", "api_key_env": "DEEPSEEK_API_KEY"},
        "openai": {"api_key_env": "OPENAI_API_KEY"},
        "ollama": {"base_url": _OLLAMA, "model": "qwen3"},
    }
    return {**usual.get(str(table.get("provider")), {}), **table}


def _from_environment(values: Mapping[str, str]) -> LlmSettings | None:
    model = values.get("TUTOR_LLM_MODEL")
    chosen: dict[str, Any] | None = None
    if values.get("DEEPSEEK_API_KEY"):
        chosen = {"provider": "deepseek"}
    elif values.get("OPENAI_BASE_URL") and values.get("OPENAI_API_KEY"):
        named = model or values.get("OPENAI_MODEL")
        chosen = {"provider": "openai", "base_url": values["OPENAI_BASE_URL"], "model": named or ""}
    elif values.get("OLLAMA_HOST") or values.get("OLLAMA_BASE_URL"):
        chosen = {"provider": "ollama", "base_url": _ollama_url(values)}
    if chosen is None:
        return None
    if model:
        chosen["model"] = model
    return LlmSettings.parse(_completed(chosen), "environment")


def _ollama_url(values: Mapping[str, str]) -> str:
    address = values.get("OLLAMA_BASE_URL") or values.get("OLLAMA_HOST") or _OLLAMA
    address = address if "://" in address else f"http://{address}"
    return address if address.rstrip("/").endswith("/v1") else address.rstrip("/") + "/v1"
