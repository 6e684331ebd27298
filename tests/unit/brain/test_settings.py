from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tutor_agent.brain.failures import advise
from tutor_agent.brain.settings import load_llm
from tutor_agent.core.errors import UserError
from tutor_agent.core.resources import config_dir

if TYPE_CHECKING:
    from pathlib import Path


def _configure(text: str) -> Path:
    path = config_dir() / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_without_configuration_there_is_no_language_model() -> None:
    assert load_llm({}) is None


@pytest.mark.parametrize(
    ("environment", "provider", "model", "address"),
    [
        ({"DEEPSEEK_API_KEY": "k"}, "deepseek", "deepseek-chat", None),
        ({"DEEPSEEK_API_KEY": "k", "TUTOR_LLM_MODEL": "m"}, "deepseek", "m", None),
        (
            {"OPENAI_BASE_URL": "http://x/v1", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"},
            "openai",
            "m",
            "http://x/v1",
        ),
        ({"OLLAMA_HOST": "box:11434"}, "ollama", "qwen3", "http://box:11434/v1"),
        ({"OLLAMA_BASE_URL": "http://box/v1"}, "ollama", "qwen3", "http://box/v1"),
    ],
)
def test_the_environment_names_one(
    environment: dict[str, str], provider: str, model: str, address: str | None
) -> None:
    found = load_llm(environment)
    assert found is not None
    assert (found.provider, found.model, found.base_url) == (provider, model, address)


@pytest.mark.parametrize(
    "environment",
    [{"OPENAI_API_KEY": "k"}, {"DEEPSEEK_API_KEY": "k", "TUTOR_LLM": "none"}],
)
def test_a_key_alone_or_a_switch_names_none(environment: dict[str, str]) -> None:
    assert load_llm(environment) is None


def test_the_file_comes_before_the_environment() -> None:
    _configure(
        '[llm]\nprovider = "openai"\nmodel = "m"\nbase_url = "http://x/v1"\nshare_rows = true\n'
    )
    found = load_llm({"DEEPSEEK_API_KEY": "k"})
    assert found is not None
    assert found.provider == "openai"
    assert found.share_rows


def test_none_in_the_file_switches_it_off() -> None:
    _configure('[llm]\nprovider = "none"\n')
    assert load_llm({"DEEPSEEK_API_KEY": "k"}) is None


@pytest.mark.parametrize(
    "text", ["[llm\n", '[llm]\nprovider = "x"\n', '[llm]\nprovidr = "openai"\n']
)
def test_a_broken_file_is_named(text: str) -> None:
    path = _configure(text)
    with pytest.raises(UserError) as raised:
        load_llm({})
    assert str(path) in raised.value.text.en
    assert str(path) in raised.value.text.zh


def test_every_failure_has_advice_without_secrets() -> None:
    secret = "sk-" + "a" * 24
    words = advise(RuntimeError(f"bad key {secret}"), stands_in=True)
    assert secret not in words.en + words.zh
    assert "built-in" in words.en
    assert "built-in" not in advise(RuntimeError("x"), stands_in=False).en
    grouped = advise(ExceptionGroup("all", [ValueError("inner")]), stands_in=False)
    assert "inner" in grouped.en


def test_every_error_of_the_engine_is_known() -> None:
    from pydantic_ai import exceptions

    from tutor_agent.brain.failures import _ADVICE

    general = {"ModelAPIError", "AgentRunError"}
    assert general <= set(_ADVICE)
    assert {name for name in _ADVICE if not hasattr(exceptions, name)} == set()
