"""Lines of repairs: a skill that diverges above a ceiling of the learning rate, and hand-written run folders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.runs.conftest import SCRIPT
from tutor_agent.core.changes import Entry, PlanChange
from tutor_agent.core.checkpoints import mark_good
from tutor_agent.core.findings import Finding, Fix
from tutor_agent.core.resources import config_dir
from tutor_agent.core.text import Text
from tutor_agent.runs.folder import Lineage, RunFolder, Status, create_run, write_status

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan

_HEAD = """---
name: counting
description: Counts in place of learning. Use in tests only.
metadata:
  tutor-api: "1"
  tutor-stage: train
---
"""
_CODE = f"""
from tutor_agent.core.contract import Contract
from tutor_agent.core.job import Job


class Params(Contract):
    ceiling: float = 1.0
    fragile: bool = False


def check(facts, params):
    return []


def footprint(model, params):
    raise NotImplementedError


def build(plan, folder):
    if plan.params.get("fragile") and plan.optim.learning_rate < 0.5:
        raise RuntimeError("this skill is broken")
    broken = plan.optim.learning_rate > plan.params["ceiling"]
    trouble = {{"FAKE_TROUBLE": "diverge@5@0"}} if broken else {{}}
    return Job(
        script={str(SCRIPT)!r},
        arguments=("--run", "{{run}}", "--model", "{{model}}"),
        environment={{"FAKE_STEPS": "12", "FAKE_PACE": "0.01", **trouble}},
        outputs=("result/adapter.txt",),
    )
"""


def install_counting_skill() -> None:
    """Put the skill among the person's own."""
    folder = config_dir() / "skills" / "counting"
    folder.mkdir(parents=True)
    (folder / "SKILL.md").write_text(_HEAD, encoding="utf-8")
    (folder / "skill.py").write_text(_CODE, encoding="utf-8")


def fix(name: str, value: Any = None, safety: Any = "safe", op: Any = "set", **more: Any) -> Fix:
    """A fix that sets or moves the learning rate; without a value it changes nothing."""
    entries = () if value is None else (Entry(path="optim.learning_rate", op=op, value=value),)
    change = PlanChange(entries=entries)
    return Fix(
        id=name, safety=safety, title=Text(en=f"do {name}", zh=f"做 {name}"), change=change, **more
    )


LADDER = (fix("usual", 1e-5), fix("lower", 0.1, op="multiply"), fix("look", safety="manual"))


def finding(*fixes: Fix, cause: str = "lr_too_high", **more: Any) -> Finding:
    """A fault with this ladder."""
    known = {"confidence": 0.9, "evidence": (), "step": 5, **more}
    title = Text(en=f"{cause}.", zh=f"{cause}。")
    return Finding(cause=cause, title=title, fixes=fixes or LADDER, **known)


def ended(root: Path, plan: Plan, found: Finding | None = None, **more: Any) -> RunFolder:
    """Write a run that has come to its end: `parent` and `fix` name a repair, the rest is its status."""
    origin = {key: more.pop(key) for key in ("parent", "fix", "by", "resume_from") if key in more}
    lineage = Lineage(cause="lr_too_high", **origin) if origin else Lineage()
    folder = create_run(root, plan, {}, lineage=lineage)
    if found is not None:
        folder.add_finding(found)
    cause = found.cause if found is not None else None
    write_status(folder, Status(**{"state": "halted", "cause": cause, "step": 7, **more}))
    return folder


def checkpoint(folder: RunFolder, step: int) -> Path:
    """Write a checkpoint that can be trusted."""
    path = folder.checkpoints / f"checkpoint-{step}"
    path.mkdir()
    mark_good(path)
    return path
