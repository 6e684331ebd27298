"""The machine: looked at through a replaced border, or described."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.probe.test_vendors import NPU, NVIDIA
from tutor_agent.core.errors import UserError
from tutor_agent.probe import gpu, limits
from tutor_agent.probe.gpu import gpu_load
from tutor_agent.probe.machine import describe_machine, inspect_machine
from tutor_agent.probe.packages import installed_packages
from tutor_agent.probe.tools import Output, has_tool, run_tool

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tools(monkeypatch: pytest.MonkeyPatch) -> dict[str, Output]:
    """Replace the vendors' tools by recorded outputs; those that are not named are not installed."""
    outputs: dict[str, Output] = {}

    def run(argv: list[str], seconds: float = 10.0) -> Output:
        return outputs.get(" ".join(argv[:2]), outputs.get(argv[0], Output("", ok=False)))

    monkeypatch.setattr(gpu, "_nvml_devices", lambda: None)
    monkeypatch.setattr(gpu, "has_tool", lambda name: name in outputs)
    monkeypatch.setattr(gpu, "run_tool", run)
    return outputs


def test_this_machine(tmp_path: Path) -> None:
    machine = inspect_machine(tmp_path / "not" / "yet" / "there")
    assert 1 <= machine.cores <= (os.cpu_count() or 1)
    assert 0 < machine.free_ram_gib <= machine.ram_gib
    assert machine.free_disk_gib > 0
    assert machine.cpu
    assert machine.packages["torch"]
    assert not machine.described


def test_no_accelerator_is_fine(tools: dict[str, Output], tmp_path: Path) -> None:
    machine = inspect_machine(tmp_path)
    assert (machine.accelerators, machine.link, machine.warnings) == ((), "none", ())


def test_nvidia_by_its_tool(tools: dict[str, Output], monkeypatch: pytest.MonkeyPatch) -> None:
    tools["nvidia-smi"] = Output(NVIDIA, ok=True)
    tools["nvidia-smi topo"] = Output("\tGPU0\tGPU1\nGPU0\t X \tSYS\nGPU1\tSYS\t X \n", ok=True)
    assert len(gpu_load()) == 3
    assert gpu.find_accelerators().link == "pcie"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-1111")
    assert [device.name for device in gpu_load()] == ["Tesla T4", "NVIDIA A100-SXM4-80GB"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,9,1")
    assert len(gpu_load()) == 1


def test_hidden_devices_are_a_warning(
    tools: dict[str, Output], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools["nvidia-smi"] = Output(NVIDIA, ok=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    machine = inspect_machine(tmp_path)
    assert machine.accelerators == ()
    assert "CUDA_VISIBLE_DEVICES" in machine.warnings[0].zh


@pytest.mark.parametrize("tool", ["nvidia-smi", "amd-smi", "rocm-smi", "npu-smi"])
def test_a_failing_tool_is_a_warning(tools: dict[str, Output], tmp_path: Path, tool: str) -> None:
    tools[tool] = Output("", ok=False, complaint="driver/library version mismatch")
    machine = inspect_machine(tmp_path)
    assert machine.accelerators == ()
    (warning,) = machine.warnings
    assert tool in warning.en
    assert "version mismatch" in warning.zh


def test_ascend(tools: dict[str, Output], tmp_path: Path) -> None:
    tools["npu-smi"] = Output(NPU, ok=True)
    machine = inspect_machine(tmp_path)
    assert (len(machine.accelerators), machine.link) == (2, "hccs")


class FakeNvml:
    """NVML with one card of 80 GB, split in two when `mig` is on."""

    NVML_DEVICE_MIG_ENABLE = 1

    class NVMLError(Exception):
        """What the library raises."""

    def __init__(self, *, mig: bool) -> None:
        self.mig = mig

    def nvmlInit(self) -> None: ...  # noqa: N802 - NVML's names
    def nvmlShutdown(self) -> None: ...  # noqa: N802
    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return f"card-{index}"

    def nvmlDeviceGetMigMode(self, _handle: str) -> tuple[int, int]:  # noqa: N802
        if self.mig:
            return 1, 1
        raise self.NVMLError

    def nvmlDeviceGetMaxMigDeviceCount(self, _handle: str) -> int:  # noqa: N802
        return 7

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, slot: int) -> str:  # noqa: N802
        if slot > 1:
            raise self.NVMLError
        return f"{handle}-slice-{slot}"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> Any:  # noqa: N802
        size = (40 if "slice" in handle else 80) * 2**30
        return type("Memory", (), {"total": size, "free": size // 2})

    def nvmlDeviceGetName(self, _handle: str) -> str:  # noqa: N802
        return "NVIDIA A100-SXM4-80GB"

    def nvmlDeviceGetUUID(self, handle: str) -> str:  # noqa: N802
        return f"GPU-{handle}"

    def nvmlDeviceGetCudaComputeCapability(self, _handle: str) -> tuple[int, int]:  # noqa: N802
        return 8, 0

    def nvmlDeviceGetUtilizationRates(self, _handle: str) -> Any:  # noqa: N802
        raise self.NVMLError


@pytest.mark.parametrize(("mig", "memory"), [(False, [80.0]), (True, [40.0, 40.0])])
def test_nvml(monkeypatch: pytest.MonkeyPatch, mig: bool, memory: list[float]) -> None:
    monkeypatch.setattr(gpu.importlib, "import_module", lambda _name: FakeNvml(mig=mig))
    found = gpu_load()
    assert [device.memory_gib for device in found] == memory
    assert (found[0].capability, found[0].bf16, found[0].utilisation) == ("8.0", True, None)


def test_described() -> None:
    machine = describe_machine("8卡A800, 512G内存")
    assert (len(machine.accelerators), machine.link, machine.ram_gib) == (8, "nvlink", 512)
    assert machine.described
    assert machine.warnings == ()
    assert describe_machine("2x3090").link == "pcie"
    assert describe_machine("T4, 64GB RAM").ram_gib == 64


@pytest.mark.parametrize("words", ["cpu", "no GPU", "没有显卡", "CPU only, 32G内存"])
def test_described_without_accelerator(words: str) -> None:
    assert describe_machine(words).accelerators == ()


def test_described_with_doubt() -> None:
    (size,) = describe_machine("4xA100").warnings
    assert "A100-80G" in size.en
    (several,) = describe_machine("2台8卡H800").warnings
    assert "2 台" in several.zh


@pytest.mark.parametrize("words", ["2xL40", "a big one", ""])
def test_described_by_nobody_knows_what(words: str) -> None:
    with pytest.raises(UserError, match="Known and near") as caught:
        describe_machine(words)
    assert "8卡A800" in caught.value.text.zh


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content, encoding="utf-8")
    return folder


def test_limits_of_a_control_group(tmp_path: Path) -> None:
    write(
        tmp_path / "pod",
        memory__max=str(2**30),
        memory__current=str(2**29),
        memory__stat=f"inactive_file {2**28}\n",
    )
    write(tmp_path / "pod" / "box", cpu__max="max 100000", memory__max="max")
    write(tmp_path / "pod", cpu__max="50000 100000")
    own = "0::/pod/box\n"
    assert limits.usable_cores(tmp_path, own) == 1
    assert limits.usable_memory(tmp_path, own) == (1.0, 0.75)


def test_limits_of_a_version_1_group(tmp_path: Path) -> None:
    write(tmp_path / "cpu" / "box", **{"cpu.cfs_quota_us": "100000", "cpu.cfs_period_us": "100000"})
    write(
        tmp_path / "memory" / "box",
        **{"memory.limit_in_bytes": str(2**30), "memory.usage_in_bytes": "0"},
    )
    own = "4:memory:/box\n3:cpu,cpuacct:/box\n"
    (tmp_path / "cpu,cpuacct").symlink_to("cpu")
    assert limits.usable_cores(tmp_path, own) == 1
    assert limits.usable_memory(tmp_path, own) == (1.0, 1.0)


def test_without_control_groups(tmp_path: Path) -> None:
    assert limits.usable_cores(tmp_path, "") == len(os.sched_getaffinity(0))


def test_processor() -> None:
    x86 = "processor\t: 0\nmodel name\t: AMD EPYC 9B14\nflags\t\t: fpu avx512_bf16 sse\n"
    assert limits.processor(x86) == ("AMD EPYC 9B14", True)
    assert limits.processor("Features\t: fp asimd bf16\n")[1]
    assert limits.processor("")[0]


def test_tools_border() -> None:
    assert has_tool("sh")
    assert run_tool(["sh", "-c", "echo hi"]) == Output("hi\n", ok=True, complaint="exit code 0")
    assert run_tool(["sh", "-c", "echo bad >&2; exit 3"]).complaint == "bad"
    assert not run_tool(["no-such-tool"]).ok
    assert "no answer" in run_tool(["sh", "-c", "sleep 5"], seconds=0.1).complaint


def test_packages() -> None:
    assert installed_packages(("pytest", "no-such-package")) == {"pytest": pytest.__version__}
