"""What every sub-command shares: the workspace, the language, the common flags."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import yaml

from tutor_agent.cli.output import Output
from tutor_agent.core.changes import Entry, PlanChange
from tutor_agent.core.errors import InvalidPlanError

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.text import Language, Text

json_flag = click.option("--json", "as_json", is_flag=True, help="One JSON object on stdout.")
yes_flag = click.option("--yes", is_flag=True, help="Agree to everything that is asked.")


class State:
    """The workspace and the language of one call."""

    def __init__(self, language: Language) -> None:
        self.language: Language = language

    def context(self) -> Context:
        """Return the context of the actions."""
        from tutor_agent.actions.context import Context

        return Context(workspace=Path.cwd(), language=self.language)

    def output(self, as_json: bool = False) -> Output:
        """Return where results go."""
        return Output(self.language, as_json)


def parse_change(settings: tuple[str, ...]) -> PlanChange:
    """Read `path=value` pairs; values are YAML.

    Raises:
        InvalidPlanError: A pair has no `=`.
    """
    entries: list[Entry] = []
    for setting in settings:
        path, mark, value = setting.partition("=")
        if not mark:
            raise InvalidPlanError(
                f"--set {setting!r} has no '='. Write it as --set optim.learning_rate=1e-5.",
                f"--set {setting!r} 缺少 '='。请写成 --set optim.learning_rate=1e-5。",
            )
        entries.append(Entry(path=path.strip(), value=_number(yaml.safe_load(value))))
    return PlanChange(entries=tuple(entries))


def _number(value: Any) -> Any:
    """YAML reads `1e-5` as a word; people mean the number."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def agree(question: Text, output: Output, yes: bool) -> bool:
    """Ask for consent; `--yes` has given it. Without a terminal nobody can agree."""
    if yes:
        return True
    if not sys.stdin.isatty():
        output.say(
            {"en": "Not started: add --yes to agree.", "zh": "未启动：加上 --yes 表示同意。"}[
                output.language
            ]
        )
        return False
    return click.confirm(question.pick(output.language), default=True, err=output.as_json)
