"""Architecture numbers and closed-form counts from configurations of many families."""

from __future__ import annotations

from typing import Any

import pytest

from tutor_agent.core.errors import UnreadableError
from tutor_agent.probe.architecture import read_shape
from tutor_agent.probe.counting import count_parameters

V3 = {
    "model_type": "deepseek_v3",
    "hidden_size": 7168,
    "num_hidden_layers": 61,
    "num_attention_heads": 128,
    "num_key_value_heads": 128,
    "intermediate_size": 18432,
    "moe_intermediate_size": 2048,
    "n_routed_experts": 256,
    "n_shared_experts": 1,
    "num_experts_per_tok": 8,
    "first_k_dense_replace": 3,
    "q_lora_rank": 1536,
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
    "vocab_size": 129280,
    "tie_word_embeddings": False,
}
GPT2 = {
    "model_type": "gpt2",
    "n_embd": 768,
    "n_layer": 12,
    "n_head": 12,
    "n_positions": 1024,
    "vocab_size": 50257,
}
NEOX = {
    "model_type": "gpt_neox",
    "hidden_size": 512,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "intermediate_size": 2048,
    "vocab_size": 50304,
    "tie_word_embeddings": False,
}
PHI2 = {
    "model_type": "phi",
    "hidden_size": 2560,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "intermediate_size": 10240,
    "vocab_size": 51200,
    "tie_word_embeddings": False,
}
QWEN_MOE = {
    "model_type": "qwen2_moe",
    "hidden_size": 2048,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "num_key_value_heads": 16,
    "intermediate_size": 5632,
    "moe_intermediate_size": 1408,
    "shared_expert_intermediate_size": 5632,
    "num_experts": 60,
    "num_experts_per_tok": 4,
    "decoder_sparse_step": 1,
    "vocab_size": 151936,
    "tie_word_embeddings": False,
}


@pytest.mark.parametrize(
    ("config", "total", "active"),
    [
        (V3, 671_026_404_352, 37_552_282_624),
        (GPT2, 124_439_808, 124_439_808),
        (NEOX, 70_426_624, 70_426_624),
        (PHI2, 2_779_683_840, 2_779_683_840),
        (QWEN_MOE, 14_315_784_192, 2_689_173_504),
    ],
    ids=["DeepSeek-V3", "gpt2", "pythia-70m", "phi-2", "Qwen1.5-MoE-A2.7B"],
)
def test_counts(config: dict[str, Any], total: int, active: int) -> None:
    counted = count_parameters(config, read_shape(config, "config.json"))
    assert counted.exact
    assert (counted.parameters.total, counted.parameters.active) == (total, active)


def test_latent_attention_and_experts() -> None:
    shape = read_shape(V3, "config.json")
    assert shape.latent is not None
    assert shape.experts is not None
    assert (shape.latent.kv_rank, shape.head_dim) == (512, 192)
    assert (shape.experts.routed, shape.experts.first_dense_layers) == (256, 3)


def test_dense_layers_among_sparse_ones() -> None:
    config = {**QWEN_MOE, "mlp_only_layers": [0, 5], "decoder_sparse_step": 2}
    dense = count_parameters(config, read_shape(config, "x")).parameters
    every = count_parameters(QWEN_MOE, read_shape(QWEN_MOE, "x")).parameters
    # Of 24 layers every second one is sparse, less layer 5 that is kept dense.
    assert dense.parts["experts"] * 24 == every.parts["experts"] * 11


def test_text_part_of_a_vision_model() -> None:
    inner = {k: v for k, v in NEOX.items() if k != "tie_word_embeddings"} | {"model_type": "llama"}
    shape = read_shape(
        {"model_type": "mix", "text_config": inner, "tie_word_embeddings": True}, "x"
    )
    assert (shape.hidden, shape.tied) == (512, True)


@pytest.mark.parametrize(
    ("config", "field", "value"),
    [
        ({**NEOX, "model_type": "falcon", "multi_query": True}, "kv_heads", 1),
        ({**NEOX, "model_type": "chatglm", "multi_query_group_num": 2}, "kv_heads", 2),
        ({**NEOX, "model_type": "gpt_bigcode", "tie_word_embeddings": None}, "tied", True),
        ({**NEOX, "head_dim": 128}, "head_dim", 128),
        (NEOX, "gated", False),
        ({**NEOX, "model_type": "something_new"}, "gated", True),
    ],
)
def test_spellings(config: dict[str, Any], field: str, value: object) -> None:
    assert getattr(read_shape(config, "x"), field) == value


def test_unknown_families_are_estimated() -> None:
    config = {**NEOX, "model_type": "something_new"}
    assert not count_parameters(config, read_shape(config, "x")).exact


@pytest.mark.parametrize(
    "missing", ["hidden_size", "num_hidden_layers", "vocab_size", "num_attention_heads"]
)
def test_a_missing_number_is_named(missing: str) -> None:
    config = {key: value for key, value in NEOX.items() if key != missing}
    with pytest.raises(UnreadableError, match=missing):
        read_shape(config, "model/config.json")
