"""Which skills there are: bundled, the person's, the workspace's, and those of other packages."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotFoundError, TutorError, UnreadableError
from tutor_agent.core.resources import bundled, config_dir, state_dir
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text
from tutor_agent.skillkit.load import load_place, load_skill, read_head

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.skillkit.contract import Skill, SkillHead

ENTRY_POINTS = "tutor_agent.skills"
_TRUSTED = "trusted-workspaces.txt"


@dataclass(frozen=True)
class Registry:
    """All skills that were found. Their code runs at the first use of `skills`, `broken` or `get`."""

    heads: tuple[SkillHead, ...]
    """What their SKILL.md files say, in the order of precedence."""
    unreadable: tuple[Text, ...] = ()
    """Folders whose SKILL.md cannot be read, and skills left out for want of trust."""

    @cached_property
    def _loaded(self) -> tuple[tuple[Skill, ...], tuple[Text, ...]]:
        skills: list[Skill] = []
        broken: list[Text] = []
        for head in self.heads:
            if not head.code.is_file():
                continue
            try:
                skills.append(load_skill(head))
            except TutorError as error:
                broken.append(error.text)
        return tuple(skills), tuple(broken)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all skills, those that are advice only included; nothing is imported."""
        return tuple(head.name for head in self.heads)

    @property
    def skills(self) -> tuple[Skill, ...]:
        """The skills that can be run."""
        return self._loaded[0]

    @property
    def broken(self) -> tuple[Text, ...]:
        """What could not be used, and why."""
        return self.unreadable + self._loaded[1]

    def stage(self, stage: str) -> tuple[Skill, ...]:
        """Return the skills of one stage, such as `train`."""
        return tuple(skill for skill in self.skills if skill.stage == stage)

    def get(self, name: str) -> Skill:
        """Return the skill called `name`.

        Raises:
            NotFoundError: There is no such skill; the nearest names are given.
        """
        for skill in self.skills:
            if skill.name == name:
                return skill
        known = [skill.name for skill in self.skills]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.3) or known
        why = next((text for text in self.broken if repr(name) in text.en), None)
        raise NotFoundError(
            f"There is no skill {name!r}. " + (why.en if why else f"Choose: {', '.join(near)}."),
            f"没有名为 {name!r} 的技能。" + (why.zh if why else f"可选：{'、'.join(near)}。"),
        )


def find_skills(workspace: Path | None = None) -> Registry:
    """Find all skills; those of `workspace` only when it is trusted, for they run Python."""
    folders = [(folder, "bundled") for folder in _folders(_bundled())]
    folders += [(folder, "user") for folder in _folders(config_dir() / "skills")]
    unreadable: list[Text] = []
    if workspace is not None:
        local = _folders(state_dir(workspace) / "skills")
        if local and not is_trusted(workspace):
            unreadable.append(_untrusted(workspace, local))
        else:
            folders += [(folder, "workspace") for folder in local]
    heads: dict[str, SkillHead] = {}
    for entry in entry_points(group=ENTRY_POINTS):
        _add_package(entry, folders, unreadable)
    for folder, origin in folders:
        try:
            head = read_head(folder, origin)
        except (TutorError, OSError, UnicodeDecodeError) as error:
            unreadable.append(
                error.text if isinstance(error, TutorError) else Text.same(f"{folder}: {error}")
            )
            continue
        if head.name in heads:
            unreadable.append(_shadowed(head, heads[head.name]))
        else:
            heads[head.name] = head
    return Registry(tuple(heads.values()), tuple(unreadable))


def is_trusted(workspace: Path) -> bool:
    """Return whether the person allowed skills of `workspace` to run."""
    path = config_dir() / _TRUSTED
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return str(workspace.resolve()) in lines


def trust(workspace: Path) -> None:
    """Remember that the person allows skills of `workspace` to run."""
    if not is_trusted(workspace):
        path = config_dir() / _TRUSTED
        old = path.read_text(encoding="utf-8") if path.is_file() else ""
        write_atomic(path, f"{old}{workspace.resolve()}\n")


def _bundled() -> Path | None:
    try:
        return bundled("skills")
    except NotFoundError:
        return None


def _folders(parent: Path | None) -> list[Path]:
    if parent is None or not parent.is_dir():
        return []
    return sorted(path for path in parent.iterdir() if path.is_dir() and path.name[0] not in "._")


def _add_package(
    entry: EntryPoint, folders: list[tuple[Path, str]], unreadable: list[Text]
) -> None:
    """Add the skill folders of another package."""
    try:
        place = load_place(entry)
    except UnreadableError as error:
        unreadable.append(error.text)
        return
    own = [place] if (place / "SKILL.md").is_file() else _folders(place)
    folders += [(folder, entry.name) for folder in own]


def _untrusted(workspace: Path, folders: list[Path]) -> Text:
    names = [folder.name for folder in folders]
    return Text(
        en=f"{workspace} has skills of its own ({', '.join(names)}) that were not loaded, since they "
        "run Python. Allow them with `tutor skills --trust` after reading them.",
        zh=f"{workspace} 自带技能（{'、'.join(names)}），因为它们会运行 Python 代码，所以没有加载。"
        "阅读之后可用 `tutor skills --trust` 允许。",
    )


def _shadowed(head: SkillHead, first: SkillHead) -> Text:
    return Text(
        en=f"The skill {head.name!r} in {head.folder} is hidden by the one in {first.folder}. Rename its folder.",
        zh=f"{head.folder} 中的技能 {head.name!r} 被 {first.folder} 中的同名技能遮住了。请重命名其文件夹。",
    )
