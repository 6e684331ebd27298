"""Is this installation sound?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError
from tutor_agent.core.resources import bundled, cache_dir
from tutor_agent.core.text import Text
from tutor_agent.diagnose.faults import load_faults
from tutor_agent.library.cards import load_cards
from tutor_agent.library.models import all_models
from tutor_agent.probe.machine import inspect_machine
from tutor_agent.probe.packages import installed_packages
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.actions.context import Context

_NEEDED = ("torch", "transformers", "peft", "accelerate", "datasets", "safetensors")


class CheckItem(Contract):
    """One thing that was checked."""

    name: str
    """What was looked at."""
    good: bool
    """Whether it is as it should be."""
    detail: Text
    """What was seen, and what to do when it is not good."""


def check_installation(context: Context) -> tuple[CheckItem, ...]:
    """Check packages, bundled knowledge, skills, the machine and the cache folder."""
    items = [_guarded("packages", _packages)]
    items.append(_guarded("knowledge", _knowledge))
    items.append(_guarded("skills", lambda: _skills(context)))
    items.append(_guarded("machine", lambda: _machine(context)))
    items.append(_guarded("cache", _cache))
    return tuple(items)


def _guarded(name: str, look: Callable[[], tuple[bool, Text]]) -> CheckItem:
    try:
        good, detail = look()
    except (TutorError, OSError) as error:
        good, detail = False, getattr(error, "text", Text.same(str(error)))
    return CheckItem(name=name, good=good, detail=detail)


def _packages() -> tuple[bool, Text]:
    found = installed_packages()
    missing = [name for name in _NEEDED if name not in found]
    if missing:
        command = f"pip install {' '.join(missing)}"
        return False, Text(en=f"Missing. Run: {command}", zh=f"缺少软件包，请运行：{command}")
    return True, Text.same(", ".join(f"{name} {found[name]}" for name in _NEEDED))


def _knowledge() -> tuple[bool, Text]:
    bundled("knowledge")
    cards, faults, models = len(load_cards()), len(load_faults()), len(all_models())
    text = Text(
        en=f"{cards} cards, {faults} faults, {models} models",
        zh=f"{cards} 张知识卡片、{faults} 种故障、{models} 个模型",
    )
    return min(cards, faults, models) > 0, text


def _skills(context: Context) -> tuple[bool, Text]:
    registry = find_skills(context.workspace)
    names = ", ".join(skill.name for skill in registry.skills)
    broken = " ".join(text.en for text in registry.broken)
    broken_zh = "".join(text.zh for text in registry.broken)
    return not registry.broken, Text(
        en=f"{names} {broken}".strip(), zh=f"{names} {broken_zh}".strip()
    )


def _machine(context: Context) -> tuple[bool, Text]:
    machine = inspect_machine(context.workspace)
    devices = ", ".join(a.name for a in machine.accelerators)
    text = Text(
        en=f"{devices or 'no GPU'}; {machine.cores} cores, {machine.ram_gib:.0f} GiB memory, "
        f"{machine.free_disk_gib:.0f} GiB disk free",
        zh=f"{devices or '没有 GPU'}；{machine.cores} 核，内存 {machine.ram_gib:.0f} GiB，"
        f"剩余磁盘 {machine.free_disk_gib:.0f} GiB",
    )
    return True, text


def _cache() -> tuple[bool, Text]:
    folder = cache_dir()
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / ".write-test"
    probe.write_text("", encoding="utf-8")
    probe.unlink()
    return True, Text.same(str(folder))
