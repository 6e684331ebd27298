"""The slash commands: what the app does itself, and what it says to the tutor in the person's place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Where = Literal["app", "tutor"]


@dataclass(frozen=True)
class Command:
    """One command; its words are `command.<name>`, and `say.<name>` for one that goes to the tutor."""

    name: str
    where: Where = "app"
    argument: bool = False
    """Whether words may follow."""
    needs_argument: bool = False
    """Whether words must follow."""


COMMANDS = (
    Command("help"),
    Command("plan", "tutor", argument=True),
    Command("run", "tutor", argument=True),
    Command("runs", argument=True),
    Command("stop", "tutor", argument=True),
    Command("resume", "tutor", argument=True),
    Command("diagnose", "tutor", argument=True),
    Command("fix", "tutor", argument=True),
    Command("why", "tutor", argument=True, needs_argument=True),
    Command("model", "tutor", argument=True, needs_argument=True),
    Command("data", "tutor", argument=True, needs_argument=True),
    Command("machine", "tutor", argument=True),
    Command("check", "tutor"),
    Command("brain"),
    Command("sessions"),
    Command("new"),
    Command("export", argument=True),
    Command("lang", argument=True),
    Command("theme", argument=True),
    Command("quit"),
)
BARE = {
    "quit": "/quit",
    "exit": "/quit",
    ":q": "/quit",
    "退出": "/quit",
    "help": "/help",
    "帮助": "/help",
}
"""Words that mean a command of the app even without the slash."""
_BY_NAME = {command.name: command for command in COMMANDS}


@dataclass(frozen=True)
class Call:
    """A command as it was typed."""

    command: Command
    argument: str


def parse_command(words: str) -> Call | None:
    """Read `/name argument`; None when it is no known command."""
    if not words.startswith("/"):
        return None
    name, _, argument = words[1:].strip().partition(" ")
    command = _BY_NAME.get(name.lower())
    return Call(command, argument.strip()) if command else None


def looks_like_command(words: str) -> bool:
    """Return whether an unknown `/word` was meant as a command, not as a path."""
    head = words.split(maxsplit=1)[0] if words.strip() else ""
    return head.startswith("/") and "/" not in head[1:] and "." not in head
