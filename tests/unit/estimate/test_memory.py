from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.estimate.known import DEEPSEEK_7B, QWEN_7B, QWEN_HALF_B, SMOLLM2, V2_LITE
from tutor_agent.estimate.footprint import (
    Footprint,
    freezing_footprint,
    full_footprint,
    lora_footprint,
)
from tutor_agent.estimate.memory import GIB, Memory, Setting, memory

if TYPE_CHECKING:
    from tutor_agent.core.facts import ModelFacts


def gib(model: ModelFacts, footprint: Footprint, **setting: Any) -> dict[str, float]:
    found: Memory = memory(model, footprint, Setting(**{"dtype": "bf16", **setting}))
    return {name: size / GIB for name, size in found.parts.items()} | {"peak": found.peak / GIB}


def lora(model: ModelFacts, rank: int = 16, targets: Any = "all-linear", **more: Any) -> Footprint:
    return lora_footprint(model, rank, targets, **more)


# Worked examples: a closed form checked against traces of real steps; GiB, max_memory_reserved.
# The last column holds weights, states, gradients, activations, loss, work, communication, peak, stage.
EXAMPLES = [
    (
        "lora-checkpointed",
        DEEPSEEK_7B,
        lora(DEEPSEEK_7B),
        {"micro_batch": 2, "length": 2048, "checkpointing": True},
        (13.011, 0.279, 0.140, 0.938, 4.688, 1.197, 0, 19.419, "loss"),
    ),
    (
        "lora",
        DEEPSEEK_7B,
        lora(DEEPSEEK_7B),
        {"micro_batch": 2, "length": 2048},
        (13.011, 0.279, 0.140, 23.203, 4.688, 1.197, 0, 43.020, "loss"),
    ),
    (
        "qlora",
        DEEPSEEK_7B,
        lora(DEEPSEEK_7B, frozen_bits="nf4-double"),
        {"length": 2048, "checkpointing": True},
        (6.182, 0.279, 0.140, 0.469, 2.344, 0.599, 0, 9.526, "loss"),
    ),
    (
        "full-pure-bf16-checkpointed",
        DEEPSEEK_7B,
        full_footprint(DEEPSEEK_7B),
        {"micro_batch": 2, "length": 2048, "checkpointing": True},
        (12.872, 25.743, 12.872, 0.938, 4.688, 1.359, 0, 53.733, "backward"),
    ),
    (
        "full-pure-bf16",
        DEEPSEEK_7B,
        full_footprint(DEEPSEEK_7B),
        {"micro_batch": 2, "length": 2048},
        (12.872, 25.743, 12.872, 21.328, 4.688, 1.359, 0, 66.357, "loss"),
    ),
    (
        "full-fp32-autocast",
        DEEPSEEK_7B,
        full_footprint(DEEPSEEK_7B),
        {"length": 2048, "checkpointing": True, "master": True},
        (25.743, 51.486, 25.743, 0.938, 2.344, 0.680, 11.309, 116.579, "backward"),
    ),
    (
        "zero3",
        QWEN_7B,
        full_footprint(QWEN_7B),
        {
            "length": 4096,
            "checkpointing": True,
            "processes": 8,
            "sharding": "zero3",
            "accumulate": 4,
        },
        (1.773, 10.639, 1.773, 0.766, 6.961, 1.711, 5.470, 28.097, "loss"),
    ),
    (
        "fsdp2",
        QWEN_7B,
        full_footprint(QWEN_7B),
        {
            "length": 4096,
            "checkpointing": True,
            "processes": 8,
            "sharding": "fsdp2",
            "accumulate": 4,
        },
        (1.773, 3.546, 1.773, 0.766, 6.961, 1.711, 3.333, 18.867, "loss"),
    ),
    (
        "zero2",
        QWEN_7B,
        full_footprint(QWEN_7B),
        {
            "length": 4096,
            "checkpointing": True,
            "processes": 4,
            "sharding": "zero2",
            "accumulate": 4,
        },
        (14.185, 21.278, 3.546, 0.766, 6.961, 1.711, 5.588, 53.145, "loss"),
    ),
    (
        "lora-qv",
        QWEN_7B,
        lora(QWEN_7B, 8, ["q_proj", "v_proj"]),
        {"micro_batch": 4, "length": 1024, "checkpointing": True},
        (14.195, 0.019, 0.009, 0.766, 6.961, 1.135, 0, 22.548, "loss"),
    ),
    (
        "lora-attention",
        QWEN_7B,
        lora(QWEN_7B, 8, "attention"),
        {"micro_batch": 4, "length": 1024},
        (14.204, 0.038, 0.019, 20.016, 6.961, 1.135, 0, 42.982, "loss"),
    ),
    (
        "lora-fused-loss",
        QWEN_7B,
        lora(QWEN_7B),
        {"micro_batch": 4, "length": 1024, "checkpointing": True, "loss": {"fused": True}},
        (14.336, 0.301, 0.150, 0.766, 1.160, 1.498, 0, 16.823, "loss"),
    ),
    (
        "full-8bit-adam",
        QWEN_HALF_B,
        full_footprint(QWEN_HALF_B),
        {"micro_batch": 4, "length": 1024, "optimizer": "adamw_8bit"},
        (0.920, 0.920, 0.920, 5.250, 6.955, 0.436, 0, 14.814, "loss"),
    ),
]


@pytest.mark.parametrize(
    ("model", "footprint", "setting", "expected"),
    [case[1:] for case in EXAMPLES],
    ids=[case[0] for case in EXAMPLES],
)
def test_worked_example(
    model: ModelFacts, footprint: Footprint, setting: dict[str, Any], expected: tuple[Any, ...]
) -> None:
    found = memory(model, footprint, Setting(**{"dtype": "bf16", **setting}))
    names = (
        "weights",
        "states",
        "gradients",
        "activations",
        "loss",
        "work",
        "communication",
    )
    for name, value in zip(names, expected, strict=False):
        assert found.parts[name] / GIB == pytest.approx(value, abs=0.001), name
    assert found.peak / GIB == pytest.approx(expected[7], abs=0.001)
    assert found.stage == expected[8]


def test_latent_attention_and_experts_with_checkpointing() -> None:
    """The example's 32.104 counts adapters on latent attention by the dense formula; here they are exact."""
    found = gib(V2_LITE, lora(V2_LITE, 16, "attention"), length=2048, checkpointing=True)
    assert found["activations"] == pytest.approx(0.211, abs=0.001)
    assert found["work"] == pytest.approx(0.355, abs=0.001)
    assert found["peak"] == pytest.approx(32.104, rel=0.001)


# Peak of live tensors in MiB of real steps on fake tensors (SmolLM2-135M, batch 4 x 512), without fragmentation.
@pytest.mark.parametrize(
    ("method", "setting", "traced"),
    [
        ("full", {"dtype": "fp32"}, 5318),
        ("full", {"dtype": "fp32", "checkpointing": True}, 2840),
        ("full", {"dtype": "bf16", "master": True}, 4740),
        ("lora", {"dtype": "fp32"}, 4095),
        ("lora", {"dtype": "fp32", "checkpointing": True}, 1861),
        ("lora", {"dtype": "bf16", "master": True}, 3072),
        ("lora", {"dtype": "bf16", "master": True, "checkpointing": True}, 1537),
    ],
)
def test_agrees_with_traced_steps(method: str, setting: dict[str, Any], traced: float) -> None:
    footprint = full_footprint(SMOLLM2) if method == "full" else lora(SMOLLM2)
    found = memory(SMOLLM2, footprint, Setting(micro_batch=4, length=512, **setting))
    held = sum(found.parts[name] for name in ("weights", "states", "communication"))
    assert (held + (found.peak - held) / 1.06) / 2**20 == pytest.approx(traced, rel=0.015)


# Bytes per token that one block keeps, traced on DeepseekV2 blocks of 16 heads and 64 experts.
def test_latent_attention_and_experts_without_checkpointing() -> None:
    footprint = lora(V2_LITE, 16, "attention")
    found = memory(V2_LITE, footprint, Setting(dtype="bf16", length=1))
    traced = 179_468 + 26 * 206_436
    assert found.parts["activations"] == pytest.approx(traced, rel=0.01)


def test_a_mask_repeats_keys_and_values_for_every_query_head() -> None:
    plain = gib(SMOLLM2, lora(SMOLLM2), micro_batch=2, length=512)
    masked = gib(SMOLLM2, lora(SMOLLM2), micro_batch=2, length=512, masked=True)
    repeated = 4 * (9 - 3) * 64 * 2 * 512 * 30
    mask = 2 * 2 * 512**2 * 30
    assert (masked["activations"] - plain["activations"]) * GIB == pytest.approx(repeated + mask)


def test_freezing_saves_only_above_the_lowest_trained_block() -> None:
    top = gib(SMOLLM2, freezing_footprint(SMOLLM2, 10), dtype="fp32", micro_batch=4, length=512)
    every = gib(SMOLLM2, full_footprint(SMOLLM2), dtype="fp32", micro_batch=4, length=512)
    assert top["activations"] == pytest.approx(every["activations"] / 3)
    assert top["peak"] < 0.6 * every["peak"]


def test_training_the_embedding_brings_the_frozen_layers_back() -> None:
    kept = gib(SMOLLM2, freezing_footprint(SMOLLM2, 10), dtype="fp32", length=512)
    deep = gib(
        SMOLLM2, freezing_footprint(SMOLLM2, 10, train_embeddings=True), dtype="fp32", length=512
    )
    assert deep["activations"] > 2 * kept["activations"]


def test_fp16_holds_fp32_weights_where_they_move() -> None:
    assert gib(QWEN_HALF_B, full_footprint(QWEN_HALF_B), dtype="fp16")["weights"] == pytest.approx(
        4 * QWEN_HALF_B.parameters.total / GIB
    )
    assert gib(QWEN_HALF_B, lora(QWEN_HALF_B), dtype="fp16")["weights"] < 1.0


def test_sharded_adapters_carry_fp32_frozen_weights() -> None:
    """A sharded group has one dtype, and what moves is fp32."""
    sharded = gib(QWEN_7B, lora(QWEN_7B), processes=4, sharding="fsdp2", master=True)
    assert sharded["weights"] == pytest.approx(
        4 * (QWEN_7B.parameters.total + lora(QWEN_7B).trainable) / 4 / GIB
    )


def test_offload_moves_the_states_to_the_cpu() -> None:
    footprint = full_footprint(QWEN_7B)
    setting = {"processes": 8, "sharding": "fsdp2", "offload": True}
    found = gib(QWEN_7B, footprint, **setting)
    assert found["weights"] == found["gradients"] == found["states"] == 0
    zero = gib(QWEN_7B, footprint, processes=8, sharding="zero3", offload=True)
    assert zero["states"] == 0 < zero["weights"]


def test_ddp_keeps_a_copy_of_the_gradients() -> None:
    found = gib(DEEPSEEK_7B, lora(DEEPSEEK_7B), processes=4)
    assert found["communication"] == pytest.approx(found["gradients"])


@pytest.mark.parametrize(
    ("optimizer", "bytes_each"),
    [("adamw", 8), ("adamw_8bit", 2), ("paged_adamw_8bit", 0), ("adafactor", 0.02), ("sgd", 0)],
)
def test_states_by_optimizer(optimizer: str, bytes_each: float) -> None:
    footprint = lora(DEEPSEEK_7B)
    found = gib(DEEPSEEK_7B, footprint, optimizer=optimizer)
    assert found["states"] * GIB == pytest.approx(bytes_each * footprint.trainable)


def test_dropout_and_eager_attention_cost_memory() -> None:
    plain = gib(DEEPSEEK_7B, lora(DEEPSEEK_7B), length=2048)["peak"]
    assert gib(DEEPSEEK_7B, lora(DEEPSEEK_7B, dropout=0.1), length=2048)["peak"] > plain
    assert gib(DEEPSEEK_7B, lora(DEEPSEEK_7B), length=2048, attention="eager")["peak"] > plain


def test_logits_are_made_only_where_loss_is() -> None:
    every = gib(QWEN_7B, lora(QWEN_7B), micro_batch=4, length=1024)
    few = {"supervised": 10}
    answers = gib(QWEN_7B, lora(QWEN_7B), micro_batch=4, length=1024, loss=few)
    assert answers["loss"] == pytest.approx(every["loss"] * 40 / 1024)


def test_the_tutors_loss_holds_its_logits_once() -> None:
    """The gradient takes the place of 16-bit logits; four million at a time are in fp32."""
    own = gib(QWEN_7B, lora(QWEN_7B), micro_batch=4, length=1024, loss={"own": True})
    logits = 4 * 1024 * QWEN_7B.shape.vocab
    assert own["loss"] * GIB == pytest.approx(2 * logits + 12 * 2**22)


def test_a_classifier_has_no_vocabulary() -> None:
    plain = gib(QWEN_7B, lora(QWEN_7B), micro_batch=4, length=1024)
    head = gib(QWEN_7B, lora(QWEN_7B), micro_batch=4, length=1024, loss={"classifier": True})
    assert head["loss"] == 0
    saved = (plain["weights"] - head["weights"]) * GIB
    assert saved == pytest.approx(2 * QWEN_7B.shape.vocab * QWEN_7B.shape.hidden)
    tied = gib(SMOLLM2, lora(SMOLLM2), loss={"classifier": True})
    assert tied["weights"] == gib(SMOLLM2, lora(SMOLLM2))["weights"], (
        "the embedding is needed anyway"
    )


@pytest.mark.parametrize(("bits", "each"), [("nf4", 0.5625), ("nf4-double", 0.516), ("int8", 1.0)])
def test_quantised_weights_take_so_many_bytes(bits: str, each: float) -> None:
    """Linear layers are packed; embedding and head stay in 16 bits, and one layer at a time is unpacked."""
    footprint = lora(QWEN_7B, frozen_bits=bits)
    found = gib(QWEN_7B, footprint, loss={"own": True})
    tables = 2 * QWEN_7B.shape.vocab * QWEN_7B.shape.hidden
    linear = QWEN_7B.parameters.total - tables
    expected = each * linear + 2 * tables + 4 * footprint.trainable
    assert found["weights"] * GIB == pytest.approx(expected, rel=0.01)
    assert found["dequantised"] * GIB == 2 * QWEN_7B.shape.hidden * QWEN_7B.shape.intermediate


def test_fused_experts_stay_in_16_bits() -> None:
    plain = gib(V2_LITE, lora(V2_LITE, 16, "attention"))["weights"]
    packed = gib(V2_LITE, lora(V2_LITE, 16, "attention", frozen_bits="nf4-double"))["weights"]
    assert packed > 0.9 * plain


def test_a_compiled_model_keeps_less() -> None:
    plain, fused = (
        gib(QWEN_7B, lora(QWEN_7B), length=2048, compiled=compiled) for compiled in (False, True)
    )
    assert fused["activations"] == pytest.approx(0.72 * plain["activations"])


def test_flash_and_flex_need_no_mask() -> None:
    masked = {"micro_batch": 2, "length": 2048, "masked": True}
    plain = gib(QWEN_7B, lora(QWEN_7B), attention="sdpa", **masked)["activations"]
    for kernel in ("flash", "flex"):
        assert gib(QWEN_7B, lora(QWEN_7B), attention=kernel, **masked)["activations"] < plain


def test_foreach_makes_a_temporary_of_all_states() -> None:
    footprint = full_footprint(QWEN_HALF_B)
    setting = {"length": 64, "master": True}
    more = gib(QWEN_HALF_B, footprint, foreach=True, **setting)["peak"]
    plain = gib(QWEN_HALF_B, footprint, **setting)["peak"]
    assert more > plain + 0.5


@pytest.mark.parametrize("sharding", ["none", "fsdp2", "zero2", "zero3"])
@pytest.mark.parametrize("method", ["full", "lora", "freezing"])
def test_every_combination_gives_a_positive_peak(sharding: str, method: str) -> None:
    footprints = {
        "full": full_footprint(V2_LITE),
        "lora": lora(V2_LITE),
        "freezing": freezing_footprint(V2_LITE, 4),
    }
    for dtype in ("bf16", "fp16", "fp32"):
        found = gib(V2_LITE, footprints[method], dtype=dtype, sharding=sharding, processes=4)
        assert found["peak"] > max(value for name, value in found.items() if name != "peak") > 0
