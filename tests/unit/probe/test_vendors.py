"""Parsers of the vendors' tools, on text as the tools print it."""

from __future__ import annotations

import json

import pytest

from tutor_agent.probe.vendors import (
    parse_amd_smi,
    parse_npu_smi,
    parse_nvidia_query,
    parse_nvidia_topology,
    parse_rocm_smi,
)

NVIDIA = """\
0, GPU-1111, NVIDIA A100-SXM4-80GB, 81920, 80994, 8.0, 0
1, GPU-2222, Tesla T4, 15360, [N/A], [N/A], [N/A]
2, GPU-3333, NVIDIA Future 9000, 200000, 100000, 13.0, 37
No devices were found
"""

TOPOLOGY = """\
\t\x1b[4mGPU0\tGPU1\tGPU2\tNIC0\tCPU Affinity\tNUMA Affinity\x1b[0m
GPU0\t X \tNV12\t{link}\tSYS\t0-31\t0
GPU1\tNV12\t X \tNV12\tSYS\t0-31\t0
GPU2\t{link}\tNV12\t X \tSYS\t32-63\t1
NIC0\tSYS\tSYS\tSYS\t X \t\t

Legend:
  X    = Self
"""

NPU = """\
+------------------------------------------------------------------------------------------------+
| npu-smi 25.2.0                   Version: 25.2.0                                               |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 91.3        33                0    / 0             |
| 0                         | 0000:C1:00.0  | 12          0    / 0          3197 / 65536         |
+===========================+===============+====================================================+
| 1     910B3               | OK            | 88.1        32                0    / 0             |
| 0                         | 0000:C2:00.0  | 0           0    / 0          3197 / 65536         |
+===========================+===============+====================================================+
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| No running processes found in NPU 0                                                            |
"""

NPU_TWO_CHIPS = """\
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip  Phy-ID              | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     Ascend910           | OK            | 178.5       36                0    / 0             |
| 0     0                   | 0000:9D:00.0  | 0           0    / 0          3416 / 65536         |
+------------------------------------------------------------------------------------------------+
| 0     Ascend910           | OK            | -           36                0    / 0             |
| 1     1                   | 0000:9F:00.0  | 0           0    / 0          3195 / 65536         |
"""

ROCM = {
    "card0": {
        "GPU use (%)": "5",
        "VRAM Total Memory (B)": "21458059264",
        "VRAM Total Used Memory (B)": "27856896",
        "Card Series": "Radeon RX 7900 XT",
        "Card Model": "0x744c",
        "GFX Version": "gfx1100",
    },
    "system": {"Driver version": "6.7.0"},
}

AMD_STATIC = [
    {
        "gpu": 0,
        "asic": {"market_name": "AMD Instinct MI300X", "target_graphics_version": "gfx942"},
        "vram": {"type": "HBM3", "size": {"value": 196592, "unit": "MB"}},
    }
]
AMD_METRIC = [
    {
        "gpu": 0,
        "usage": {"gfx_activity": {"value": 50, "unit": "%"}},
        "mem_usage": {"free_vram": {"value": 196309, "unit": "MB"}},
    }
]


def test_nvidia_query() -> None:
    first, second, third = (device.accelerator for device in parse_nvidia_query(NVIDIA))
    assert (first.memory_gib, first.free_gib, first.tflops) == (80.0, 79.1, 312)
    assert (first.capability, first.bf16, first.utilisation) == ("8.0", True, 0.0)
    assert (second.capability, second.bf16, second.free_gib) == ("7.5", False, None)
    assert (third.tflops, third.bf16, third.utilisation) == (None, True, 0.37)


@pytest.mark.parametrize(
    ("link", "expected"), [("NV12", "nvlink"), ("SYS", "pcie"), ("PHB", "pcie")]
)
def test_nvidia_topology(link: str, expected: str) -> None:
    assert parse_nvidia_topology(TOPOLOGY.format(link=link)) == expected


def test_nvidia_topology_of_one_and_of_none() -> None:
    assert parse_nvidia_topology("\tGPU0\tCPU Affinity\nGPU0\t X \t0-15\n") == "none"
    assert parse_nvidia_topology("Failed to initialise") == "unknown"


def test_npu() -> None:
    first, second = (device.accelerator for device in parse_npu_smi(NPU))
    assert (first.name, first.vendor, first.memory_gib) == ("Ascend 910B3", "ascend", 64.0)
    assert (first.free_gib, first.utilisation, first.bf16) == (60.88, 0.12, True)
    assert second.utilisation == 0.0


def test_npu_with_two_chips_on_a_card() -> None:
    devices = parse_npu_smi(NPU_TWO_CHIPS)
    assert [(d.index, d.accelerator.memory_gib) for d in devices] == [(0, 64.0), (1, 64.0)]


def test_rocm() -> None:
    (device,) = parse_rocm_smi("WARNING: something\n" + json.dumps(ROCM))
    found = device.accelerator
    assert (found.name, found.vendor, found.capability) == ("Radeon RX 7900 XT", "amd", "gfx1100")
    assert (found.memory_gib, found.free_gib, found.utilisation) == (19.98, 19.96, 0.05)


@pytest.mark.parametrize("wrap", [lambda rows: rows, lambda rows: {"gpu_data": rows}])
def test_amd_smi(wrap: object) -> None:
    assert callable(wrap)
    noise = "amdsmi_interface.py:3569: SyntaxWarning: 'return' in a 'finally' block\n"
    (device,) = parse_amd_smi(noise + json.dumps(wrap(AMD_STATIC)), json.dumps(wrap(AMD_METRIC)))
    found = device.accelerator
    assert (found.memory_gib, found.free_gib) == (191.98, 191.71)
    assert (found.capability, found.utilisation, found.tflops) == ("gfx942", 0.5, 1307)


@pytest.mark.parametrize(
    "words", ["", "command not found", "{", "[{", "| 0 |", "null", '{"card0": 1}']
)
def test_garbage_is_nothing(words: str) -> None:
    for parse in (parse_nvidia_query, parse_npu_smi, parse_rocm_smi, parse_amd_smi):
        assert parse(words) == []
