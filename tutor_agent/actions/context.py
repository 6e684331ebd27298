"""Where an action happens and in which language it speaks."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.resources import runs_dir

if TYPE_CHECKING:
    from tutor_agent.core.text import Language


@dataclass(frozen=True)
class Context:
    """The workspace and the language of the conversation."""

    workspace: Path = field(default_factory=Path.cwd)
    language: Language = "en"

    @property
    def runs(self) -> Path:
        """The folder that holds this workspace's runs."""
        return runs_dir(self.workspace)

    def file(self, name: str) -> Path:
        """Return the existing file that `name` means, seen from the workspace.

        Raises:
            NotFoundError: No such file; files of the same folder with a like name are offered.
        """
        path = (self.workspace / Path(name).expanduser()).resolve()
        if path.is_file():
            return path
        near = sorted(
            item.name
            for item in (path.parent.iterdir() if path.parent.is_dir() else ())
            if item.is_file() and item.suffix == path.suffix
        )[:5]
        raise NotFoundError(
            f"No file at {str(path)!r}."
            + (f" In that folder: {', '.join(near)}." if near else " Check the path."),
            f"找不到文件 {str(path)!r}。"
            + (f"该文件夹里有：{'、'.join(near)}。" if near else "请检查路径。"),
        )
