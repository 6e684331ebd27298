from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.estimate.known import DEEPSEEK_7B, LLAMA_70B, QWEN_7B, SMOLLM2, V2_LITE
from tutor_agent.core.errors import NotPossibleError
from tutor_agent.estimate.footprint import (
    freezing_footprint,
    full_footprint,
    lora_footprint,
    resolve_targets,
)
from tutor_agent.estimate.linear import block_at, linear_weights

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts


def test_adapters_are_counted_layer_by_layer() -> None:
    assert lora_footprint(SMOLLM2, 8).trainable == 2_442_240
    assert lora_footprint(DEEPSEEK_7B, 16).trainable == 37_478_400
    assert lora_footprint(QWEN_7B, 8, ["q_proj", "v_proj"]).trainable == 2_523_136


def test_the_last_third_of_smollm2_is_35_million_weights() -> None:
    footprint = freezing_footprint(SMOLLM2, 10)
    assert footprint.trainable == pytest.approx(35.4e6, rel=0.001)
    assert (footprint.trained_layers, footprint.reached_layers) == (10, 10)


def test_a_tied_head_is_the_embedding() -> None:
    both = freezing_footprint(SMOLLM2, 10, train_embeddings=True, train_head=True)
    head = freezing_footprint(SMOLLM2, 10, train_head=True)
    assert both.trainable == head.trainable
    assert head.reached_layers == SMOLLM2.shape.layers
    untied = freezing_footprint(QWEN_7B, 2, train_head=True)
    assert untied.reached_layers == 2


@pytest.mark.parametrize("model", [SMOLLM2, DEEPSEEK_7B, QWEN_7B, V2_LITE, LLAMA_70B])
def test_linear_layers_and_embeddings_make_up_the_model(model: ModelFacts) -> None:
    shape = model.shape
    tables = shape.vocab * shape.hidden * (1 if shape.tied else 2)
    assert linear_weights(shape) + tables == pytest.approx(model.parameters.total, rel=0.002)
    assert full_footprint(model).trainable == model.parameters.total


def test_v2_lite_has_one_dense_block_below_its_experts() -> None:
    names = {layer.name for layer in block_at(V2_LITE.shape, 0)}
    assert names == {
        "q_proj",
        "kv_a_proj_with_mqa",
        "kv_b_proj",
        "o_proj",
        "gate_proj",
        "up_proj",
        "down_proj",
    }
    above = {layer.name: layer for layer in block_at(V2_LITE.shape, 1)}
    assert above["experts.gate_up_proj"].copies == 64
    assert above["experts.gate_up_proj"].active == 6
    assert above["shared_experts.up_proj"].outputs == 2 * 1408
    assert block_at(V2_LITE.shape, 27) == ()


def test_compressed_queries_have_two_projections() -> None:
    latent = V2_LITE.shape.latent
    assert latent is not None
    shape = V2_LITE.shape.model_copy(update={"latent": latent.model_copy(update={"q_rank": 1536})})
    assert resolve_targets(shape, "attention")[:2] == ("q_a_proj", "q_b_proj")


def test_expert_names_mean_the_fused_tensor() -> None:
    assert resolve_targets(V2_LITE.shape, ["experts.gate_proj", "experts.up_proj"]) == (
        "experts.gate_up_proj",
    )
    assert resolve_targets(V2_LITE.shape, "kv_b_proj") == ("kv_b_proj",)


def test_an_unknown_target_names_the_nearest_and_all() -> None:
    with pytest.raises(NotPossibleError, match="did you mean 'q_proj'") as caught:
        resolve_targets(QWEN_7B.shape, ["q_prj"])
    assert "gate_proj" in str(caught.value)
    with pytest.raises(NotPossibleError, match="v_proj"):
        resolve_targets(V2_LITE.shape, ["q_proj", "v_proj"])
    with pytest.raises(NotPossibleError):
        resolve_targets(QWEN_7B.shape, [])
