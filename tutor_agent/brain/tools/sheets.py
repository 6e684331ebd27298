"""The plans on the table: what was advised and agreed, kept between turns under `.tutor/plans`."""

from __future__ import annotations

import difflib
import json
from typing import TYPE_CHECKING

from tutor_agent.core.advice import Advice, Why
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.resources import state_dir
from tutor_agent.core.storage import write_atomic

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan


class PlanSheet(Contract):
    """A plan with its reasons, before it runs."""

    advice: Advice
    """The plan, its reasons, its price."""
    machine: str | None = None
    """The machine in words; None for this one."""

    @property
    def plan(self) -> Plan:
        """The plan itself."""
        return self.advice.plan

    @property
    def why(self) -> dict[str, Why]:
        """Its reasons."""
        return self.advice.why


def save_sheet(workspace: Path, sheet: PlanSheet) -> None:
    """Keep a plan, in place of an older one of the same name."""
    write_atomic(_folder(workspace) / f"{sheet.plan.name}.json", sheet.model_dump_json())


def load_sheet(workspace: Path, name: str | None = None) -> PlanSheet:
    """Return a plan by name, by default the latest.

    Raises:
        NotFoundError: There is no such plan.
    """
    folder = _folder(workspace)
    files = sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files:
        if name in (None, path.stem):
            return PlanSheet.parse(json.loads(path.read_text(encoding="utf-8")), str(path))
    known = [path.stem for path in files]
    near = difflib.get_close_matches(name or "", known, n=3, cutoff=0.3) or known[:3]
    raise NotFoundError(
        f"No plan {name!r} yet. "
        + (f"There is: {', '.join(near)}." if near else "Make one first."),
        f"还没有计划 {name!r}。" + (f"现有：{'、'.join(near)}。" if near else "请先制定计划。"),
    )


def _folder(workspace: Path) -> Path:
    return state_dir(workspace) / "plans"
