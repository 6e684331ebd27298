"""Which language model answers, if any: `[llm]` in config.toml, else the environment."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from tutor_agent.core.settings import OLLAMA, LlmSettings, load_settings, with_usual

if TYPE_CHECKING:
    from collections.abc import Mapping


def load_llm(environment: Mapping[str, str] | None = None) -> LlmSettings | None:
    """Return the settings, or None when only the built-in brain answers. `TUTOR_LLM=none` switches it off.

    Raises:
        UserError: The configuration file is broken.
    """
    values = os.environ if environment is None else environment
    if values.get("TUTOR_LLM") == "none":
        return None
    given = load_settings().llm or _from_environment(values)
    return None if given is None or given.provider == "none" else given


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
    return LlmSettings.parse(with_usual(chosen), "environment")


def _ollama_url(values: Mapping[str, str]) -> str:
    address = values.get("OLLAMA_BASE_URL") or values.get("OLLAMA_HOST") or OLLAMA
    address = address if "://" in address else f"http://{address}"
    return address if address.rstrip("/").endswith("/v1") else address.rstrip("/") + "/v1"
