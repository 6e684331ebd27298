"""Accelerators of this machine: NVML first, then the vendors' tools."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tutor_agent.core.text import Text
from tutor_agent.probe.tools import has_tool, run_tool
from tutor_agent.probe.vendors import (
    NVIDIA_FIELDS,
    Device,
    nvidia_accelerator,
    parse_amd_smi,
    parse_npu_smi,
    parse_nvidia_query,
    parse_nvidia_topology,
    parse_rocm_smi,
)

if TYPE_CHECKING:
    from tutor_agent.core.facts import Accelerator
    from tutor_agent.library.accelerators import Link

_GIB = 2**30


class Found(NamedTuple):
    """Accelerators, how they are linked, and what could not be read."""

    accelerators: tuple[Accelerator, ...] = ()
    link: Link = "none"
    warnings: tuple[Text, ...] = ()


def find_accelerators() -> Found:
    """Look for accelerators of every vendor; none is fine, a failing tool is a warning."""
    warnings: list[Text] = []
    for look in (_nvidia, _amd, _ascend):
        found = look()
        warnings += found.warnings
        if found.accelerators:
            return found._replace(warnings=tuple(warnings))
    return Found(warnings=tuple(warnings))


def gpu_load() -> tuple[Accelerator, ...]:
    """Read memory and load again, cheaply, for the panel of a running job."""
    return find_accelerators().accelerators


def _nvidia() -> Found:
    devices = _nvml_devices()
    warnings: list[Text] = []
    if devices is None and has_tool("nvidia-smi"):
        output = run_tool(
            ["nvidia-smi", f"--query-gpu={NVIDIA_FIELDS}", "--format=csv,noheader,nounits"]
        )
        devices = parse_nvidia_query(output.words) if output.ok else []
        if not output.ok:
            warnings.append(_failed("nvidia-smi", output.complaint))
    elif devices is None and Path("/proc/driver/nvidia/version").exists():
        warnings.append(_failed("NVML", "the kernel driver is loaded, its library is not found"))
    visible = _visible(devices or [], os.environ.get("CUDA_VISIBLE_DEVICES"))
    if devices and not visible:
        warnings.append(_hidden("CUDA_VISIBLE_DEVICES", len(devices)))
    return Found(
        tuple(device.accelerator for device in visible), _nvidia_link(visible), tuple(warnings)
    )


def _nvidia_link(devices: list[Device]) -> Link:
    if len(devices) < 2:
        return "none"
    if not has_tool("nvidia-smi"):
        return "unknown"
    output = run_tool(["nvidia-smi", "topo", "-m"])
    return parse_nvidia_topology(output.words) if output.ok else "unknown"


def _nvml_devices() -> list[Device] | None:
    """Return the devices that NVML lists, None when there is no NVML."""
    nvml: Any = importlib.import_module("pynvml")
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    try:
        return [
            _nvml_device(nvml, handle, index)
            for index in range(nvml.nvmlDeviceGetCount())
            for handle in _nvml_handles(nvml, index)
        ]
    except nvml.NVMLError:
        return None
    finally:
        nvml.nvmlShutdown()


def _nvml_handles(nvml: Any, index: int) -> list[Any]:
    """Return the device, or its slices when it is partitioned (MIG)."""
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    try:
        partitioned = nvml.nvmlDeviceGetMigMode(handle)[0] == nvml.NVML_DEVICE_MIG_ENABLE
        slots = nvml.nvmlDeviceGetMaxMigDeviceCount(handle) if partitioned else 0
    except nvml.NVMLError:
        return [handle]
    slices: list[Any] = []
    for slot in range(slots):
        try:
            slices.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, slot))
        except nvml.NVMLError:
            continue
    return slices or [handle]


def _nvml_device(nvml: Any, handle: Any, index: int) -> Device:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle)

    def ask(function: Any) -> Any:
        try:
            return function(handle)
        except nvml.NVMLError:
            return None

    name, uuid = ask(nvml.nvmlDeviceGetName), ask(nvml.nvmlDeviceGetUUID)
    capability = ask(nvml.nvmlDeviceGetCudaComputeCapability)
    rates = ask(nvml.nvmlDeviceGetUtilizationRates)
    accelerator = nvidia_accelerator(
        str(name or "NVIDIA GPU"),
        total_gib=memory.total / _GIB,
        free_gib=memory.free / _GIB,
        capability=f"{capability[0]}.{capability[1]}" if capability else None,
        busy=rates.gpu / 100 if rates else None,
    )
    return Device(accelerator, index, str(uuid or ""))


def _visible(devices: list[Device], setting: str | None) -> list[Device]:
    """Return the devices that a training process would see, in the order it would see them."""
    if setting is None:
        return devices
    chosen: list[Device] = []
    for word in filter(None, (piece.strip() for piece in setting.split(","))):
        match = [
            d
            for d in devices
            if word == str(d.index) or (len(word) > 3 and d.uuid.startswith(word))
        ]
        # CUDA stops at the first entry that names no device.
        if not match:
            break
        chosen += match
    return chosen


def _amd() -> Found:
    warnings: list[Text] = []
    devices: list[Device] = []
    if has_tool("amd-smi"):
        static = run_tool(["amd-smi", "static", "--asic", "--vram", "--json"])
        metric = run_tool(["amd-smi", "metric", "--mem-usage", "--usage", "--json"])
        devices = parse_amd_smi(static.words, metric.words)
        if not devices:
            warnings.append(_failed("amd-smi", static.complaint))
    if not devices and has_tool("rocm-smi"):
        output = run_tool(
            ["rocm-smi", "--showproductname", "--showmeminfo", "vram", "--showuse", "--json"]
        )
        devices = parse_rocm_smi(output.words)
        if not devices:
            warnings.append(_failed("rocm-smi", output.complaint))
    if devices:
        warnings.clear()
    return Found(
        tuple(d.accelerator for d in devices),
        "unknown" if len(devices) > 1 else "none",
        tuple(warnings),
    )


def _ascend() -> Found:
    if not has_tool("npu-smi"):
        return Found()
    output = run_tool(["npu-smi", "info"])
    devices = parse_npu_smi(output.words)
    warnings = () if devices else (_failed("npu-smi", output.complaint),)
    visible = _visible(devices, os.environ.get("ASCEND_RT_VISIBLE_DEVICES"))
    if devices and not visible:
        warnings = (_hidden("ASCEND_RT_VISIBLE_DEVICES", len(devices)),)
    link: Link = "hccs" if len(visible) > 1 else "none"
    return Found(tuple(d.accelerator for d in visible), link, warnings)


def _failed(tool: str, complaint: str) -> Text:
    return Text(
        en=f"{tool} is there and could not be read: {complaint}. Its accelerators are not counted; "
        "check the driver, or describe the machine in words, such as `4xA100-80G`.",
        zh=f"找到了 {tool}，但无法读取：{complaint}。相关加速卡未计入；请检查驱动，"
        "或用文字描述机器，例如 `4xA100-80G`。",
    )


def _hidden(variable: str, count: int) -> Text:
    return Text(
        en=f"{variable} hides all {count} accelerators of this machine. Unset it to use them.",
        zh=f"{variable} 屏蔽了本机全部 {count} 张加速卡。取消该变量即可使用。",
    )
