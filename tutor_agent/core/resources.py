"""Where things are: the bundled folders, the person's configuration, the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

from tutor_agent.core.errors import NotFoundError

_PACKAGE = Path(__file__).resolve().parent.parent


def bundled(folder: str) -> Path:
    """Return `skills` or `knowledge`: inside an installed wheel, else beside the package.

    Raises:
        NotFoundError: The installation is broken.
    """
    for candidate in (_PACKAGE / "_bundled" / folder, _PACKAGE.parent / folder):
        if candidate.is_dir():
            return candidate
    raise NotFoundError(
        f"The folder {folder!r} of tutor-agent is missing. Install it again: pip install tutor-agent.",
        f"tutor-agent 的 {folder!r} 文件夹缺失。请重新安装：pip install tutor-agent。",
    )


def config_dir() -> Path:
    """Return the person's configuration folder (`TUTOR_CONFIG_DIR` overrides it)."""
    return Path(os.environ.get("TUTOR_CONFIG_DIR") or platformdirs.user_config_dir("tutor"))


def cache_dir() -> Path:
    """Return the folder for downloads and converted models (`TUTOR_CACHE_DIR` overrides it)."""
    return Path(os.environ.get("TUTOR_CACHE_DIR") or platformdirs.user_cache_dir("tutor"))


def runs_dir(workspace: Path) -> Path:
    """Return the folder that holds the runs of `workspace`."""
    return workspace / "runs"


def state_dir(workspace: Path) -> Path:
    """Return the folder for the sessions, approvals and index of `workspace`."""
    return workspace / ".tutor"
