"""The exception tree.

    TutorError                 anything the tutor can explain (never a traceback)
    ├── UserError              what the person gave cannot be used            exit code 2
    │   ├── NotFoundError      a file, model, run, card or skill is not there
    │   ├── UnreadableError    a file is there and cannot be understood
    │   ├── InvalidPlanError   a plan or change breaks the contract
    │   └── NotPossibleError   asks for what this machine or state does not allow
    └── FailedError            what was asked for went wrong                  exit code 1
        ├── UnavailableError   a network, registry or package is missing
        ├── LaunchError        a process could not be started or was lost
        ├── CheckpointError    a checkpoint cannot be written or trusted
        └── HaltedError        training was refused or stopped before harm; names its cause

A message says what, the value, what is allowed and what to do, in both languages.
"""

from __future__ import annotations

from typing import ClassVar

from tutor_agent.core.text import Text


class TutorError(Exception):
    """An error with an explanation for the person; `exit_code` is the command's."""

    exit_code: ClassVar[int] = 1

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en, zh)
        self.text = Text(en=en, zh=zh)

    def __str__(self) -> str:
        return self.text.en


class UserError(TutorError):
    """What the person gave cannot be used."""

    exit_code: ClassVar[int] = 2


class NotFoundError(UserError):
    """A named thing is not there."""


class UnreadableError(UserError):
    """A file is there and cannot be understood."""


class InvalidPlanError(UserError):
    """A plan, a change or a parameter breaks its contract."""


class NotPossibleError(UserError):
    """The request is well formed and this machine or state does not allow it."""


class FailedError(TutorError):
    """What was asked for went wrong."""


class UnavailableError(FailedError):
    """A network, a registry or a package that is needed cannot be reached."""


class LaunchError(FailedError):
    """A process could not be started, or was lost."""


class CheckpointError(FailedError):
    """A checkpoint cannot be written or cannot be trusted."""


class HaltedError(FailedError):
    """Training was refused, or stopped before a bad step could reach the weights."""

    def __init__(self, en: str, zh: str, *, cause: str) -> None:
        super().__init__(en, zh)
        self.cause = cause
