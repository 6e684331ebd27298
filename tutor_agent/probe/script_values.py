"""The values that a script can be seen to hold without running it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field, replace
from typing import cast


@dataclass(frozen=True)
class Unknown:
    """A value that only running the script would tell."""

    code: str
    line: int


@dataclass(frozen=True)
class Given:
    """A value and the line that gives it."""

    value: object
    line: int

    @property
    def known(self) -> bool:
        """Whether the value is a plain one."""
        return is_plain(self.value)


@dataclass(frozen=True, eq=False)
class Made:
    """A call: what is called, with imports resolved, and with what."""

    name: str
    args: tuple[Given, ...]
    named: dict[str, Given]
    line: int
    owner: object = None
    """The value whose method is called."""
    open: bool = False
    """Whether further arguments were passed that cannot be read."""

    @property
    def last(self) -> str:
        """The name without what stands before its last dot."""
        return self.name.rsplit(".", 1)[-1]

    def get(self, name: str, position: int | None = None) -> Given | None:
        """Return an argument by name, or by position when it was not named."""
        if name in self.named:
            return self.named[name]
        if position is not None and position < len(self.args):
            return self.args[position]
        return None


@dataclass(frozen=True)
class Symbol:
    """A name from elsewhere: a module, or something imported."""

    name: str
    defaults: dict[str, Given] = field(default_factory=dict[str, Given], compare=False)
    """Fields that a class of the script adds or sets on top of it."""


@dataclass(frozen=True)
class Space:
    """An object with attributes: a class of settings, the result of argparse."""

    attributes: dict[str, Given]
    origin: str = "class"


@dataclass(frozen=True)
class Function:
    """A function of the script."""

    node: ast.FunctionDef | ast.AsyncFunctionDef

    @property
    def is_property(self) -> bool:
        """Whether it is read like an attribute."""
        return any("property" in ast.unparse(each) for each in self.node.decorator_list)

    @property
    def is_static(self) -> bool:
        """Whether it is a method without an object."""
        return any(ast.unparse(each) == "staticmethod" for each in self.node.decorator_list)


@dataclass(frozen=True)
class Parser:
    """An argparse parser; its options are filled as they are added."""

    options: dict[str, Given] = field(default_factory=dict[str, Given])


@dataclass(frozen=True)
class Rows:
    """A data set or data frame and the files it comes from."""

    files: dict[str, tuple[str, ...]]
    """Files by split."""
    line: int
    split: str | None = None
    """The split that is taken; None for all of them."""
    share: float | None = None
    """Share of the rows this part holds after a split at random."""
    held: float | None = None
    """Share put aside by the last split at random."""
    hub: str | None = None
    """Name of a data set on the hub, when no file was given."""
    cleaned: frozenset[str] = frozenset()
    """What was dropped: duplicates, missing."""
    unread: tuple[Unknown, ...] = ()
    """Files that cannot be known."""

    def part(self, name: str) -> Rows:
        """Return one split."""
        return replace(self, split=name)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files of the split that is taken."""
        if self.split is not None and self.split in self.files:
            return self.files[self.split]
        if self.split not in {None, "train"} and self.held is None:
            return ()
        if self.files.get("train") or self.unread or self.split == "train":
            return self.files.get("train", ())
        return next(iter(self.files.values()), ())


def is_plain(value: object, depth: int = 6) -> bool:
    """Return whether a value is made of constants only, nested at most `depth` deep."""
    if depth < 0:
        return False
    if isinstance(value, list | tuple | set):
        items = cast("list[object]", value)
        return all(is_plain(each, depth - 1) for each in items)
    if isinstance(value, dict):
        table = cast("dict[object, object]", value)
        return all(is_plain(each, depth - 1) for pair in table.items() for each in pair)
    return value is None or isinstance(value, str | int | float)
