"""Processor, memory and their limits: what a container may really use."""

from __future__ import annotations

import math
import os
import platform
import re
from pathlib import Path

import psutil

_GIB = 2**30
_CGROUPS = Path("/sys/fs/cgroup")
_BF16_FLAGS = {"avx512_bf16", "amx_bf16", "avx_ne_convert", "bf16"}


def processor(cpuinfo: str) -> tuple[str, bool]:
    """Return the processor's name and whether it has bf16 instructions, from /proc/cpuinfo."""
    name = re.search(r"^(?:model name|Hardware|Processor)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    words = set(flags[1].split()) if flags else set[str]()
    fallback = platform.processor() or platform.machine() or "unknown"
    return (name[1].strip() if name else fallback), bool(words & _BF16_FLAGS)


def usable_cores(root: Path = _CGROUPS, own: str | None = None) -> int:
    """Return the cores that this process may use: affinity, cut by the control group's quota."""
    affinity = getattr(os, "sched_getaffinity", None)
    cores = len(affinity(0)) if affinity else (os.cpu_count() or 1)
    quotas = [
        quota for folder in _folders(root, own, "cpu") if (quota := _quota(folder)) is not None
    ]
    return max(1, min([cores, *(math.ceil(quota) for quota in quotas)]))


def usable_memory(root: Path = _CGROUPS, own: str | None = None) -> tuple[float, float]:
    """Return total and free memory in GiB, cut by the control group's limit."""
    memory = psutil.virtual_memory()
    total, free = memory.total, memory.available
    for folder in _folders(root, own, "memory"):
        limit = _integer(folder / "memory.max") or _integer(folder / "memory.limit_in_bytes")
        if limit is None or limit >= memory.total:
            continue
        used = _integer(folder / "memory.current") or _integer(folder / "memory.usage_in_bytes")
        # Pages of files that were only read can be dropped at once, so they count as free.
        idle = _statistic(folder / "memory.stat", "inactive_file")
        total = min(total, limit)
        free = min(free, max(0, limit - max(0, (used or 0) - idle)))
    return total / _GIB, min(free, total) / _GIB


def _folders(root: Path, own: str | None, controller: str) -> list[Path]:
    """Return the control groups of this process and their parents, version 2 or 1."""
    if own is None:
        try:
            own = Path("/proc/self/cgroup").read_text(encoding="utf-8")
        except OSError:
            return []
    found: list[Path] = []
    for line in own.splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers and controller not in controllers.split(","):
            continue
        base = root / controller if controllers else root
        inner = base / path.lstrip("/")
        found += [f for f in (inner, *inner.parents) if f == base or base in f.parents]
    return [folder for folder in found if folder.is_dir()]


def _quota(folder: Path) -> float | None:
    words = _read(folder / "cpu.max").split()
    if len(words) == 2 and words[0].isdigit():
        return int(words[0]) / int(words[1])
    quota, period = _integer(folder / "cpu.cfs_quota_us"), _integer(folder / "cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 else None


def _statistic(path: Path, name: str) -> int:
    match = re.search(rf"^{name} (\d+)$", _read(path), re.MULTILINE)
    return int(match[1]) if match else 0


def _integer(path: Path) -> int | None:
    words = _read(path).strip()
    return int(words) if re.fullmatch(r"-?\d+", words) else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""
