from __future__ import annotations

import pytest

from tests.unit.estimate.known import (
    EIGHT_H100,
    FOUR_A100,
    LLAMA_70B,
    QWEN_7B,
    RTX_3090,
    SMOLLM2,
    TWO_CORES,
    V2_LITE,
    cards,
)
from tutor_agent.core.facts import ModelFacts, Parameters, Shape
from tutor_agent.estimate.footprint import (
    freezing_footprint,
    full_footprint,
    lora_footprint,
)
from tutor_agent.estimate.memory import Setting
from tutor_agent.estimate.speed import device_flops, forward_flops, speed, training_flops

LLAMA_3B = ModelFacts(
    name="Llama-3.2-3B",
    source="Llama-3.2-3B",
    shape=Shape(
        layers=28,
        hidden=3072,
        heads=24,
        kv_heads=8,
        head_dim=128,
        intermediate=8192,
        vocab=128256,
        tied=True,
    ),
    parameters=Parameters(total=3_212_749_824, active=3_212_749_824, embedding=394_002_432),
)


def test_flops_follow_the_published_formula() -> None:
    """6 A and attention without recomputing; LoRA leaves out the weight gradients."""
    full, lora = full_footprint(LLAMA_3B), lora_footprint(LLAMA_3B, 8)
    assert training_flops(LLAMA_3B, full, 4096, checkpointing=False) == pytest.approx(
        21_390_428_160, rel=0.001
    )
    assert training_flops(LLAMA_3B, lora, 4096, checkpointing=True) == pytest.approx(
        22_095_071_232, rel=0.001
    )
    seventy = lora_footprint(LLAMA_70B, 16)
    assert training_flops(LLAMA_70B, seventy, 2048, checkpointing=True) == pytest.approx(
        427_755_618_304, rel=0.001
    )


def test_freezing_skips_the_work_below() -> None:
    full = training_flops(SMOLLM2, full_footprint(SMOLLM2), 256, checkpointing=False)
    top = training_flops(SMOLLM2, freezing_footprint(SMOLLM2, 10), 256, checkpointing=False)
    assert forward_flops(SMOLLM2, 256) < top < 0.65 * full


# Measured real tokens per second, two threads, batch 4, 79 per cent of each batch real tokens.
@pytest.mark.parametrize(
    ("method", "measured"), [("full", 115.5), ("lora", 136.9), ("freezing", 259.0)]
)
def test_cpu_speed_is_anchored_to_measurements(method: str, measured: float) -> None:
    footprint = {
        "full": full_footprint(SMOLLM2),
        "lora": lora_footprint(SMOLLM2, 8),
        "freezing": freezing_footprint(SMOLLM2, 10),
    }[method]
    setting = Setting(dtype="fp32", micro_batch=4, length=300)
    found = speed(SMOLLM2, footprint, TWO_CORES, setting, 300)
    assert 0.79 * found.training == pytest.approx(measured, rel=0.25)
    assert 0.79 * found.training * found.slowest < measured < 0.79 * found.training * found.fastest


# tokens per second and GPU, as published for single-GPU and FSDP runs
@pytest.mark.parametrize(
    ("machine", "model", "method", "batch", "length", "sharding", "measured"),
    [
        ("A100", LLAMA_3B, "full", 2, 4096, "none", 8000),
        ("A100", LLAMA_3B, "lora", 2, 4096, "none", 8210),
        ("A100x8", LLAMA_70B, "lora", 2, 2048, "fsdp2", 437),
    ],
)
def test_gpu_speed_is_within_the_stated_range(
    machine: str,
    model: ModelFacts,
    method: str,
    batch: int,
    length: int,
    sharding: str,
    measured: float,
) -> None:
    count = 8 if machine.endswith("x8") else 1
    where = cards(count, "NVIDIA A100-SXM4-80GB", 80, 312)
    footprint = full_footprint(model) if method == "full" else lora_footprint(model, 8)
    setting = Setting.model_validate(
        {
            "dtype": "bf16",
            "micro_batch": batch,
            "length": length,
            "processes": count,
            "sharding": sharding,
            "checkpointing": method == "lora",
        }
    )
    found = speed(model, footprint, where, setting, length)
    each = found.training / count
    assert each * found.slowest <= measured <= each * found.fastest
    assert each == pytest.approx(measured, rel=0.3)


def test_more_cards_are_faster_and_experts_slower_than_their_flops() -> None:
    one, many = Setting(dtype="bf16"), Setting(dtype="bf16", processes=8)
    assert device_flops(EIGHT_H100, many) > 6 * device_flops(EIGHT_H100, one)
    dense = speed(QWEN_7B, lora_footprint(QWEN_7B, 8), FOUR_A100, one, 1024)
    sparse = speed(V2_LITE, lora_footprint(V2_LITE, 8, "attention"), FOUR_A100, one, 1024)
    assert sparse.training < 2 * dense.training
    assert sparse.slowest < dense.slowest


def test_an_unknown_card_widens_the_range() -> None:
    unknown = cards(1, "Some Card 9000", 24, 71).model_copy(deep=True)
    card = unknown.accelerators[0].model_copy(update={"tflops": None})
    unknown = unknown.model_copy(update={"accelerators": (card,)})
    setting = Setting(dtype="bf16")
    found = speed(QWEN_7B, lora_footprint(QWEN_7B, 8), unknown, setting, 512)
    known = speed(QWEN_7B, lora_footprint(QWEN_7B, 8), RTX_3090, setting, 512)
    assert found.slowest < known.slowest
    assert found.fastest > known.fastest


def test_fp32_is_slow_on_a_gpu() -> None:
    fast = device_flops(RTX_3090, Setting(dtype="bf16"))
    assert device_flops(RTX_3090, Setting(dtype="fp32")) < fast / 4
