"""The machine: looked at, or described in words."""

from __future__ import annotations

import platform
import re
import shutil
from typing import TYPE_CHECKING

from tutor_agent.core.errors import UserError
from tutor_agent.core.facts import Machine
from tutor_agent.core.text import Text
from tutor_agent.library.accelerators import Mention, mentions, near_accelerators, nodes_named
from tutor_agent.probe.gpu import find_accelerators
from tutor_agent.probe.limits import processor, usable_cores, usable_memory
from tutor_agent.probe.packages import installed_packages
from tutor_agent.probe.tools import read_text

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.library.accelerators import Link

_NO_GPU = re.compile(
    r"\bcpu\b|no gpu|without (?:a )?gpu|没有(?:显卡|gpu)|无(?:显卡|gpu)", re.IGNORECASE
)
_RAM = re.compile(
    r"(?:内存|ram|memory)\s*[:：]?\s*(\d{1,5})\s*(?:gi?b?|吉)|(\d{1,5})\s*gi?b?\s*(?:的)?(?:内存|ram\b|memory\b)",
    re.IGNORECASE,
)


def inspect_machine(workspace: Path) -> Machine:
    """Look at this machine; what cannot be read becomes a warning, never an error."""
    name, bf16 = processor(read_text("/proc/cpuinfo"))
    ram, free_ram = usable_memory()
    found = find_accelerators()
    return Machine(
        accelerators=found.accelerators,
        cpu=name,
        cores=usable_cores(),
        cpu_bf16=bf16,
        ram_gib=round(ram, 2),
        free_ram_gib=round(free_ram, 2),
        free_disk_gib=round(_free_disk(workspace), 2),
        link=found.link,
        system=f"{platform.system()} {platform.release()}, Python {platform.python_version()}",
        packages=installed_packages(),
        warnings=found.warnings,
    )


def describe_machine(words: str) -> Machine:
    """Read a machine from words such as `4xA100-80G`, `8卡A800` or `2x3090, 128G RAM`.

    Raises:
        UserError: No accelerator in the words is known.
    """
    rest = _RAM.sub(" ", words)
    ram = float(next((m[1] or m[2] for m in _RAM.finditer(words)), 0) or 0)
    found = list(mentions(rest))
    if not found and not _NO_GPU.search(rest):
        raise _unknown(words)
    accelerators = tuple(m.accelerator for m in found for _ in range(m.number))
    return Machine(
        accelerators=accelerators,
        cpu="described",
        ram_gib=ram,
        free_ram_gib=ram,
        link=_link(found),
        described=True,
        warnings=tuple(_warnings(found, words)),
    )


def _link(found: list[Mention]) -> Link:
    if sum(mention.number for mention in found) < 2:
        return "none"
    links: set[Link] = {mention.card.link for mention in found}
    return links.pop() if len(links) == 1 else "pcie"


def _warnings(found: list[Mention], words: str) -> list[Text]:
    warnings: list[Text] = []
    for mention in found:
        if mention.guessed:
            sizes = sorted({mention.card.memory_gb, *(card.memory_gb for card in mention.guessed)})
            key, chosen = mention.card.keys[0], mention.card.memory_gb
            listed = " / ".join(f"{size} GB" for size in sizes)
            warnings.append(
                Text(
                    en=f"{key} exists with {listed}; {chosen} GB is assumed. Write `{key}-{sizes[-1]}G` "
                    "for the other.",
                    zh=f"{key} 有 {listed} 版本，这里按 {chosen} GB 计算。若是另一种，请写 `{key}-{sizes[-1]}G`。",
                )
            )
    if (nodes := nodes_named(words)) > 1:
        warnings.append(
            Text(
                en=f"The words name {nodes} machines; this describes one of them. Configure a cluster to "
                "use several.",
                zh=f"描述中有 {nodes} 台机器，这里只表示其中一台。要使用多台，请配置集群。",
            )
        )
    return warnings


def _unknown(words: str) -> UserError:
    near = near_accelerators(words) or ["A100-80", "A800-80", "RTX3090", "RTX4090", "Ascend910B"]
    return UserError(
        f"No accelerator is recognised in {words!r}. Known and near: {', '.join(near)}. "
        "Write for instance `4xA100-80G`, `2x3090` or `cpu`.",
        f"无法从 {words!r} 中认出加速卡。已知且相近的有：{'、'.join(near)}。"
        "写法示例：`4xA100-80G`、`8卡A800`、`cpu`。",
    )


def _free_disk(workspace: Path) -> float:
    place = next((p for p in (workspace, *workspace.parents) if p.exists()), workspace)
    try:
        return shutil.disk_usage(place).free / 2**30
    except OSError:
        return 0.0
