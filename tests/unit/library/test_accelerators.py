"""Accelerators as drivers report them and as people write them."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tutor_agent.library.accelerators import (
    Card,
    all_accelerators,
    find_accelerator,
    find_card,
    mentions,
    near_accelerators,
    parse_accelerators,
)


@pytest.mark.parametrize(
    ("words", "card", "number", "memory"),
    [
        ("4xA100-80G", "A100-80", 4, 80),
        ("2x3090", "RTX3090", 2, 24),
        ("8卡A800", "A800-80", 8, 80),
        ("4 张 4090", "RTX4090", 4, 24),
        ("T4", "T4", 1, 15),
        ("H20*8", "H20", 8, 96),
        ("A100 40G x 4", "A100-40", 4, 40),
        ("8 张 80G 的 A100", "A100-80", 8, 80),
        ("八卡 H800", "H800-80", 8, 80),
        ("双卡 4090", "RTX4090", 2, 24),
        ("双4090", "RTX4090", 2, 24),
        ("我有两块3090显卡", "RTX3090", 2, 24),
        ("four V100s 32G", "V100-32", 4, 32),
        ("8 × H100", "H100-80", 8, 80),
        ("8GPU A100 80GB", "A100-80", 8, 80),
        ("8卡昇腾910B", "Ascend910B", 8, 64),
        ("16GB T4", "T4", 1, 15),
        ("2台8卡H800", "H800-80", 8, 80),
        ("2 nodes x 8 A100-80G", "A100-80", 8, 80),
        ("RTX 4090 D", "RTX4090D", 1, 24),
        ("4090 48G", "RTX4090", 1, 48),
        ("L40S", "L40S", 1, 45),
        ("2xMI300X", "MI300X", 2, 192),
    ],
)
def test_descriptions(words: str, card: str, number: int, memory: float) -> None:
    (found,) = mentions(words)
    assert (found.card.id, found.number) == (card, number)
    devices = parse_accelerators(words)
    assert len(devices) == number
    assert devices[0].memory_gib == pytest.approx(memory, rel=0.01)


@pytest.mark.parametrize(
    ("name", "card"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100-80"),
        ("NVIDIA A100 80GB PCIe", "A100-80"),
        ("NVIDIA A100-PCIE-40GB", "A100-40"),
        ("NVIDIA H100 80GB HBM3", "H100-80"),
        ("NVIDIA H100 PCIe", "H100-PCIe"),
        ("NVIDIA H100 NVL", "H100-NVL"),
        ("NVIDIA H20", "H20"),
        ("NVIDIA H200", "H200"),
        ("NVIDIA GeForce RTX 3090", "RTX3090"),
        ("NVIDIA GeForce RTX 2080 Ti", "RTX2080Ti"),
        ("Tesla V100-SXM2-32GB", "V100-32"),
        ("Tesla T4", "T4"),
        ("NVIDIA A10G", "A10G"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX6000Ada"),
        ("AMD Instinct MI300X", "MI300X"),
        ("910B3", "Ascend910B"),
        ("910B4", "Ascend910B4"),
    ],
)
def test_product_names(name: str, card: str) -> None:
    found = find_card(name)
    assert found is not None
    assert found.id == card


@pytest.mark.parametrize(
    "name", ["L40", "RTX 3060 Ti", "NVIDIA GeForce GTX 1080", "A1000", "", "cpu"]
)
def test_unknown_products_are_not_guessed(name: str) -> None:
    assert find_accelerator(name) is None
    assert parse_accelerators(name) == ()


def test_several_kinds_in_one_machine() -> None:
    found = parse_accelerators("1xT4 + 2 张 L4")
    assert [device.name for device in found] == ["NVIDIA T4", "NVIDIA L4", "NVIDIA L4"]


def test_an_open_size_takes_the_smaller_and_says_so() -> None:
    (found,) = mentions("8卡 A100")
    assert (found.card.id, [card.id for card in found.guessed]) == ("A100-40", ["A100-80"])
    (found,) = mentions("A100-80")
    assert found.guessed == ()


def test_near_names() -> None:
    assert "L40S" in near_accelerators("2xL40")
    assert near_accelerators("abacus") == []


@pytest.mark.parametrize("card", all_accelerators(), ids=lambda card: card.id)
def test_figures(card: Card) -> None:
    assert 0.85 * card.memory_gb <= card.memory_mib / 1024 <= 1.01 * card.memory_gb
    assert card.source
    if card.vendor == "nvidia":
        assert card.capability is not None
        assert card.bf16 == (float(card.capability) >= 8.0)
    assert find_card(card.id) == card


def test_ids_are_unique_and_smaller_sizes_come_first() -> None:
    cards = all_accelerators()
    assert len({card.id for card in cards}) == len(cards)
    for first, second in pairwise(cards):
        if first.keys == second.keys and first.form == second.form:
            assert first.memory_gb < second.memory_gb
