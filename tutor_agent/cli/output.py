"""Where the command line writes: results to stdout, everything else to stderr."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tutor_agent.core.errors import TutorError
    from tutor_agent.core.text import Language, Text


@dataclass(frozen=True)
class Output:
    """Speaks one language, as text or as one JSON object."""

    language: Language
    as_json: bool = False

    def say(self, words: Text | str = "", **style: Any) -> None:
        """Write a sentence: to stdout, or to stderr when stdout carries JSON."""
        line = words if isinstance(words, str) else words.pick(self.language)
        click.secho(line, err=self.as_json, **style)

    def lines(self, lines: Iterable[str]) -> None:
        """Write several lines."""
        for line in lines:
            self.say(line)

    def emit(self, value: dict[str, Any]) -> None:
        """Write the one JSON object of a `--json` command."""
        click.echo(json.dumps(value, ensure_ascii=False, allow_nan=False))

    def fail(self, error: TutorError) -> int:
        """Write an error with what to do, and return the exit code."""
        mark = {"en": "Error", "zh": "错误"}[self.language]
        click.secho(f"{mark}: {error.text.pick(self.language)}", err=True, fg="red")
        if self.as_json:
            self.emit({"error": {"kind": type(error).__name__, **error.text.model_dump()}})
        return error.exit_code
