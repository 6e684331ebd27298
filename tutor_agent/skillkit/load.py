"""Reading SKILL.md and loading skill.py, with errors that say what to mend."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import TutorError, UnreadableError
from tutor_agent.core.frontmatter import split_frontmatter
from tutor_agent.core.text import Text
from tutor_agent.skillkit.contract import API_VERSION, Skill, SkillHead

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint
    from types import ModuleType

ALLOWED_KEYS = ("name", "description", "license", "compatibility", "metadata", "allowed-tools")
_NAME = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*$")
_FUNCTIONS = ("check", "footprint", "build")


def read_head(folder: Path, origin: str = "bundled") -> SkillHead:
    """Read the head of `folder/SKILL.md`.

    Raises:
        UnreadableError: The file is missing or does not follow the Agent Skills specification.
    """
    path = folder / "SKILL.md"
    if not path.is_file():
        raise UnreadableError(
            f"{folder} has no SKILL.md. Add one with `name` and `description` in its head.",
            f"{folder} 中没有 SKILL.md。请添加该文件，并在头部写明 `name` 和 `description`。",
        )
    head, _ = split_frontmatter(path)
    _check_head(head, path, folder.name)
    metadata = cast("dict[str, str]", head.get("metadata") or {})
    title = metadata.get("tutor-title", folder.name)
    return SkillHead(
        name=head["name"],
        title=Text(en=title, zh=metadata.get("tutor-title-zh", title)),
        description=" ".join(head["description"].split()),
        stage=metadata.get("tutor-stage", ""),
        folder=folder,
        origin=origin,
    )


def load_skill(head: SkillHead) -> Skill:
    """Run the skill's `skill.py` and check that it keeps the contract.

    Raises:
        UnreadableError: The code fails, or a part of the contract is missing.
    """
    module = _run(head)
    params = getattr(module, "Params", None)
    if not (isinstance(params, type) and issubclass(params, Contract)):
        raise _broken(head, "class Params(Contract)")
    for name in _FUNCTIONS:
        if not callable(getattr(module, name, None)):
            raise _broken(head, f"function {name}()")
    parts: dict[str, Any] = {name: getattr(module, name) for name in _FUNCTIONS}
    return Skill(
        name=head.name,
        title=head.title,
        description=head.description,
        stage=head.stage,
        folder=head.folder,
        params=params,
        suggest=getattr(module, "suggest", None),
        **parts,
    )


def load_place(entry: EntryPoint) -> Path:
    """Return the folder that another package's entry point names: a path, or the package itself.

    Raises:
        UnreadableError: The package cannot be imported, or names no folder.
    """
    try:
        found = entry.load()
        return Path(found) if isinstance(found, str | Path) else Path(found.__file__).parent
    except Exception as error:
        raise UnreadableError(
            f"The skill package {entry.value!r} cannot be loaded: {type(error).__name__}: {error}. "
            "Update or uninstall it.",
            f"技能包 {entry.value!r} 无法加载：{type(error).__name__}：{error}。请更新或卸载它。",
        ) from error


def _run(head: SkillHead) -> ModuleType:
    """Execute `skill.py` under a name of its own, since skill folders are not packages."""
    name = f"tutor_skill_{head.origin}_{head.name}".replace("-", "_").replace(".", "_")
    spec = importlib.util.spec_from_file_location(name, head.code)
    if spec is None or spec.loader is None:
        raise _broken(head, "readable skill.py")
    module = importlib.util.module_from_spec(spec)
    # Dataclasses with postponed annotations look their module up while it is being executed.
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except TutorError:
        sys.modules.pop(name, None)
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        raise UnreadableError(
            f"The skill {head.name!r} cannot be loaded: {head.code}: "
            f"{type(error).__name__}: {error}. Mend that file or remove the folder.",
            f"技能 {head.name!r} 无法加载：{head.code}：{type(error).__name__}：{error}。"
            "请修正该文件，或移除该文件夹。",
        ) from error
    return module


def _check_head(head: dict[str, Any], path: Path, folder: str) -> None:
    unknown = [key for key in head if key not in ALLOWED_KEYS]
    if unknown:
        raise UnreadableError(
            f"{path}: unknown key {unknown[0]!r} in the head. Allowed: {', '.join(ALLOWED_KEYS)}; "
            "keys of our own go under `metadata` as `tutor-…`.",
            f"{path}：头部有未知的键 {unknown[0]!r}。可用的键：{'、'.join(ALLOWED_KEYS)}；"
            "自定义的键请以 `tutor-…` 写在 `metadata` 下。",
        )
    name, description = head.get("name"), head.get("description")
    if name != folder or not isinstance(name, str) or not _NAME.match(name) or len(name) > 64:
        raise UnreadableError(
            f"{path}: name {name!r} must equal the folder name {folder!r} and use a-z, 0-9 and '-' "
            "only (at most 64 characters).",
            f"{path}：name {name!r} 必须与文件夹名 {folder!r} 相同，且只能用 a-z、0-9 和“-”"
            "（最多 64 个字符）。",
        )
    if not isinstance(description, str) or not 0 < len(description) <= 1024:
        raise UnreadableError(
            f"{path}: a description of 1 to 1024 characters is needed; say what it does and when to use it.",
            f"{path}：需要 1 到 1024 个字符的 description，说明用途和使用时机。",
        )
    _check_metadata(head.get("metadata"), path)


def _check_metadata(metadata: Any, path: Path) -> None:
    pairs = cast("dict[Any, Any]", metadata or {})
    if not isinstance(metadata, dict | None) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in pairs.items()
    ):
        raise UnreadableError(
            f"{path}: metadata must map strings to strings; put numbers in quotes.",
            f"{path}：metadata 必须是字符串到字符串的映射；数字请加引号。",
        )
    api = pairs.get("tutor-api", API_VERSION)
    if api != API_VERSION:
        raise UnreadableError(
            f"{path}: tutor-api {api!r} is not supported; this version reads {API_VERSION!r}.",
            f"{path}：不支持 tutor-api {api!r}；当前版本支持 {API_VERSION!r}。",
        )


def _broken(head: SkillHead, missing: str) -> UnreadableError:
    return UnreadableError(
        f"The skill {head.name!r} breaks its contract: {head.code} has no {missing}.",
        f"技能 {head.name!r} 不符合约定：{head.code} 中缺少 {missing}。",
    )
