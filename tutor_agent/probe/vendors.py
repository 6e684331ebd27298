"""Reading the output of the vendors' tools. Pure: text in, accelerators out.

Formats: `nvidia-smi --query-gpu=… --format=csv,noheader,nounits`, `nvidia-smi topo -m`, `amd-smi static`
and `metric` with `--json`, `rocm-smi --json`, and the table of `npu-smi info`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.facts import Accelerator
from tutor_agent.library.accelerators import find_accelerator

if TYPE_CHECKING:
    from tutor_agent.library.accelerators import Link

NVIDIA_FIELDS = "index,uuid,name,memory.total,memory.free,compute_cap,utilization.gpu"
_GIB = 2**30
_NPU_FIRST = re.compile(r"^\|\s*(?P<npu>\d+)\s+(?P<name>\w[\w-]*)\s*\|\s*(?P<health>\w+)\s*\|")
_NPU_SECOND = re.compile(r"^\|\s*\d+(?:\s+\d+)?\s*\|\s*[\dA-Fa-fx]+:[\w.:]+\s*\|(?P<figures>.*)\|")
_USED_OF = re.compile(r"(\d+)\s*/\s*(\d+)")


@dataclass(frozen=True)
class Device:
    """An accelerator with what is needed to choose it by CUDA_VISIBLE_DEVICES."""

    accelerator: Accelerator
    index: int
    uuid: str = ""


def parse_nvidia_query(words: str) -> list[Device]:
    """Read the lines of an `nvidia-smi` query for `NVIDIA_FIELDS`; others are passed over."""
    found: list[Device] = []
    for line in words.splitlines():
        cells = [cell.strip() for cell in line.split(",")]
        if len(cells) != len(NVIDIA_FIELDS.split(",")) or not cells[0].isdigit():
            continue
        total, free, busy = (_figure(cells[i]) for i in (3, 4, 6))
        capability = cells[5] if re.fullmatch(r"\d+\.\d+", cells[5]) else None
        if total is None:
            continue
        accelerator = nvidia_accelerator(
            cells[2],
            total_gib=total / 1024,
            free_gib=None if free is None else free / 1024,
            capability=capability,
            busy=None if busy is None else busy / 100,
        )
        found.append(Device(accelerator, int(cells[0]), cells[1]))
    return found


def nvidia_accelerator(
    name: str,
    *,
    total_gib: float,
    free_gib: float | None,
    capability: str | None,
    busy: float | None,
) -> Accelerator:
    """Make an accelerator from what the driver says and what the catalogue knows of the product."""
    known = find_accelerator(name)
    capability = capability or (known.capability if known else None)
    return Accelerator(
        name=name,
        memory_gib=round(total_gib, 2),
        free_gib=None if free_gib is None else round(free_gib, 2),
        capability=capability,
        # bf16 in hardware begins with Ampere, compute capability 8.0.
        bf16=float(capability) >= 8.0 if capability else known is None or known.bf16,
        tflops=known.tflops if known else None,
        utilisation=busy,
    )


def parse_nvidia_topology(words: str) -> Link:
    """Read the matrix of `nvidia-smi topo -m`: the weakest link between two cards decides."""
    # The matrix ends where other columns (CPU affinity) begin; its header may be underlined.
    plain = re.sub(r"\x1b\[[\d;]*m", "", words)
    rows = [line.split() for line in plain.splitlines() if re.match(r"GPU\d+\s", line)]
    rows = [row for row in rows if len(row) > 1 and not row[1].startswith("GPU")]
    links = [cell for row in rows for cell in row[1 : len(rows) + 1] if cell != "X"]
    if not links:
        return "none" if rows else "unknown"
    return "nvlink" if all(cell.startswith("NV") for cell in links) else "pcie"


def parse_amd_smi(static: str, metric: str = "") -> list[Device]:
    """Read the JSON of `amd-smi static` and, if there is one, of `amd-smi metric`."""
    load = {row.get("gpu"): row for row in _amd_rows(metric)}
    found: list[Device] = []
    for row in _amd_rows(static):
        index = int(row.get("gpu", len(found)))
        asic, vram = _mapping(row.get("asic")), _mapping(row.get("vram"))
        total = _megabytes(vram.get("size"))
        if total is None:
            continue
        measured = _mapping(load.get(row.get("gpu")))
        free = _megabytes(_mapping(measured.get("mem_usage")).get("free_vram"))
        busy = _value(_mapping(measured.get("usage")).get("gfx_activity"))
        name = str(asic.get("market_name") or "AMD GPU")
        target = str(asic.get("target_graphics_version") or "") or None
        found.append(Device(_amd(name, total, free, target, busy), index))
    return found


def parse_rocm_smi(words: str) -> list[Device]:
    """Read the JSON of `rocm-smi --showproductname --showmeminfo vram --showuse --json`."""
    found: list[Device] = []
    for key, card in _json_object(words).items():
        match = re.fullmatch(r"card(\d+)", key)
        figures = {name.lower(): value for name, value in _mapping(card).items()}
        total = _figure(str(figures.get("vram total memory (b)", "")))
        if not match or not total:
            continue
        used = _figure(str(figures.get("vram total used memory (b)", "")))
        series = str(figures.get("card series") or figures.get("device name") or "AMD GPU")
        free = None if used is None else (total - used) / _GIB
        busy = _figure(str(figures.get("gpu use (%)", "")))
        target = str(figures.get("gfx version") or "") or None
        found.append(Device(_amd(series, total / _GIB, free, target, busy), int(match[1])))
    return found


def parse_npu_smi(words: str) -> list[Device]:
    """Read the table of `npu-smi info`, where a chip takes two lines."""
    found: list[Device] = []
    name = ""
    for line in words.splitlines():
        if first := _NPU_FIRST.match(line):
            name = first["name"]
        elif name and (second := _NPU_SECOND.match(line)):
            pairs = [(int(a), int(b)) for a, b in _USED_OF.findall(second["figures"])]
            used, total = pairs[-1] if pairs else (0, 0)
            if not total and len(pairs) > 1:
                used, total = pairs[-2]
            busy = re.match(r"\s*(\d+)", second["figures"])
            found.append(
                _ascend(name, used, total, int(busy[1]) / 100 if busy else None, len(found))
            )
            name = ""
    return [device for device in found if device.accelerator.memory_gib > 0]


def _ascend(name: str, used: int, total: int, busy: float | None, index: int) -> Device:
    known = find_accelerator(name)
    accelerator = Accelerator(
        name=name if name.lower().startswith("ascend") else f"Ascend {name}",
        vendor="ascend",
        memory_gib=round(total / 1024, 2),
        free_gib=round((total - used) / 1024, 2),
        bf16="910" in name and "910A" not in name.upper(),
        tflops=known.tflops if known else None,
        utilisation=busy,
    )
    return Device(accelerator, index)


def _amd(
    name: str, total: float, free: float | None, target: str | None, busy: float | None
) -> Accelerator:
    known = find_accelerator(name)
    return Accelerator(
        name=name,
        vendor="amd",
        memory_gib=round(total, 2),
        free_gib=None if free is None else round(free, 2),
        capability=target,
        bf16=target is None or not target.startswith(("gfx8", "gfx900", "gfx906")),
        tflops=known.tflops if known else None,
        utilisation=None if busy is None else busy / 100,
    )


def _amd_rows(words: str) -> list[dict[str, Any]]:
    """Return the rows of amd-smi's JSON: a list, or a list under `gpu_data` in newer versions."""
    begin = re.search(r"[\[{]\s*[\[{\"]", words)
    if not begin:
        return []
    try:
        data, _ = json.JSONDecoder().raw_decode(words, begin.start())
    except ValueError:
        return []
    if isinstance(data, dict):
        data = cast("dict[str, Any]", data).get("gpu_data", [])
    rows = cast("list[Any]", data) if isinstance(data, list) else []
    return [_mapping(row) for row in rows if isinstance(row, dict)]


def _json_object(words: str) -> dict[str, Any]:
    begin = words.find("{")
    try:
        return _mapping(json.JSONDecoder().raw_decode(words, begin)[0]) if begin >= 0 else {}
    except ValueError:
        return {}


def _mapping(value: Any) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _value(value: Any) -> float | None:
    return _figure(str(_mapping(value).get("value", value)))


def _megabytes(value: Any) -> float | None:
    """Return GiB from amd-smi's `{value, unit}`."""
    figure = _value(value)
    if figure is None:
        return None
    return figure * (1.0 if str(_mapping(value).get("unit", "MB")).upper() == "GB" else 1 / 1024)


def _figure(words: str) -> float | None:
    match = re.match(r"\s*(\d+(?:\.\d+)?)", words)
    return float(match[1]) if match else None
