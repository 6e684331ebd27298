"""Which arguments and names of old scripts the libraries no longer take, and what to write now."""

from __future__ import annotations

import functools
import tomllib

from tutor_agent.core.contract import Contract
from tutor_agent.core.resources import bundled


class Changed(Contract):
    """What changed in one call, class or module."""

    of: str
    """The class, function or module."""
    package: str = "transformers"
    """The package it belongs to."""
    renamed: tuple[tuple[str, str, str], ...] = ()
    """Old name, new name, and the first release without the old one."""
    gone: tuple[tuple[str, str], ...] = ()
    """Names without a successor, and the first release without them."""
    still_taken: tuple[str, ...] = ()
    """Old names that still work, with a warning."""

    @property
    def successors(self) -> dict[str, str | None]:
        """The new name, or None, by old name."""
        return {old: new for old, new, _ in self.renamed} | {old: None for old, _ in self.gone}

    @property
    def since(self) -> dict[str, str]:
        """The first release without the old name."""
        return {old: release for old, _, release in self.renamed} | dict(self.gone)


class RenamedTable(Contract):
    """The whole table."""

    checked: str
    """When it was compared with the installed libraries last."""
    versions: dict[str, str]
    """With which versions."""
    arguments: tuple[Changed, ...]
    """Arguments of calls."""
    names: tuple[Changed, ...]
    """Classes, functions and methods."""

    def argument_changes(self, of: str) -> Changed | None:
        """Return what changed in the arguments of a call."""
        return next((each for each in self.arguments if each.of == of), None)

    def name_changes(self, of: str) -> Changed | None:
        """Return what changed in the names of a module."""
        return next((each for each in self.names if each.of == of), None)


@functools.cache
def renamed_table() -> RenamedTable:
    """Return the table of renamed and removed arguments."""
    path = bundled("knowledge") / "renamed_arguments.toml"
    return RenamedTable.parse(tomllib.loads(path.read_text(encoding="utf-8")), str(path))
