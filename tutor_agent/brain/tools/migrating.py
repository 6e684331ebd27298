"""The tool that reads an old training script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tutor_agent.actions import migrate as migrating
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.brain.tools.planning import keep_plan, say_plan
from tutor_agent.brain.tools.sheets import PlanSheet
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.resources import state_dir
from tutor_agent.core.storage import write_atomic
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.actions.migrate import Migration

_PASTED = "pasted.py"
_MOST_FINDINGS = 20


class MigrateScript(Contract):
    """Arguments of `migrate_script`."""

    script: str | None = None
    """The script (`.py`) or notebook (`.ipynb`)."""
    code: str | None = None
    """The script's text, unchanged, when the person pasted it instead of naming a file."""
    model: str | None = None
    """A model instead of the script's, or when the script does not tell."""
    data: str | None = None
    """A data file instead of the script's, or when the script does not tell."""
    machine: str | None = None
    """A machine in words such as `4xA100-80G`; leave out for this computer."""
    name: str | None = None
    """Name of the plan."""


def say_migration(made: Migration) -> Text:
    """Say how much breaks, and what the plan is or lacks."""
    breaks = sum(each.severity == "breaks" for each in made.findings)
    wrong = sum(each.severity == "wrong" for each in made.findings)
    head = Text(
        en=f"Breaks today: {breaks}; goes wrong without a word: {wrong}.",
        zh=f"现在会出错的有 {breaks} 处，不报错但结果不对的有 {wrong} 处。",
    )
    if made.advice is None:
        return head
    plan = say_plan(made.advice)
    return Text(en=f"{head.en} {plan.en}", zh=f"{head.zh}{plan.zh}")


def _migrate(desk: Desk, arguments: MigrateScript) -> ToolResult:
    script = _script(desk, arguments)
    given = arguments.model_dump(exclude={"script", "code"})
    made = migrating.migrate(
        desk.context, migrating.MigrateRequest.parse({**given, "script": script}, "migrate")
    )
    language = desk.context.language
    data: dict[str, Any] = {
        "script": script,
        "findings": [plain(each, language) for each in made.findings[:_MOST_FINDINGS]],
        "findings_in_all": len(made.findings),
        "needs": list(made.needs),
        "from_the_script": {path: f"line {line}" for path, line in made.lines.items()},
        "warnings": [warning.pick(language) for warning in made.warnings],
    }
    if made.advice is None:
        unpriced = plain(made.plan, language) if made.plan else None
        return ToolResult({**data, "unpriced_plan": unpriced}, None, say_migration(made))
    kept = keep_plan(desk, PlanSheet(advice=made.advice, machine=arguments.machine))
    return ToolResult({**kept.data, **data}, made.advice, say_migration(made))


def _script(desk: Desk, arguments: MigrateScript) -> str:
    """Return the file to read; what was pasted is kept beside the tutor's own notes.

    Raises:
        NotFoundError: Neither a file nor a text was given.
    """
    if arguments.code is not None:
        path = state_dir(desk.context.workspace) / _PASTED
        write_atomic(path, arguments.code)
        return str(path.relative_to(desk.context.workspace))
    if arguments.script is not None:
        return arguments.script
    raise NotFoundError(
        "Neither a script nor its text was given. Name the file (`.py` or `.ipynb`), or paste the script.",
        "没有给出脚本文件，也没有给出脚本内容。请写出文件名（`.py` 或 `.ipynb`），或直接粘贴脚本。",
    )


MIGRATING = (
    Tool(
        name="migrate_script",
        title=Text(en="Read the old script", zh="读取旧脚本"),
        description="Read an old training script or notebook (Trainer, SFTTrainer, PEFT) without running it: what breaks in it "
        "today, what goes wrong silently, and the plan that does the same, each value with its line. Starts nothing.",
        parameters=MigrateScript,
        run=_migrate,
        paths=("script", "data", "model"),
    ),
)
