"""The contract of a skill, light side: four names in its `skill.py`, all pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tutor_agent.core.advice import Why
from tutor_agent.core.facts import Facts, ModelFacts
from tutor_agent.core.findings import Finding
from tutor_agent.core.job import Job
from tutor_agent.core.plan import Plan
from tutor_agent.estimate.footprint import Footprint

if TYPE_CHECKING:
    from tutor_agent.core.contract import Contract
    from tutor_agent.core.text import Text

API_VERSION = "1"

Check = Callable[[Facts, Any], list[Finding]]
FootprintOf = Callable[[ModelFacts, Any], Footprint]
Build = Callable[[Plan, Path], Job]
Suggest = Callable[[Facts], tuple[Any, dict[str, Why]]]


@dataclass(frozen=True)
class SkillHead:
    """What SKILL.md says; known without running the skill's code."""

    name: str
    """Name, equal to the folder's."""
    title: Text
    """Name for people."""
    description: str
    """What it does and when to use it."""
    stage: str
    """train, prepare, evaluate … ; empty for a skill that is advice only."""
    folder: Path
    """Where it lives."""
    origin: str
    """bundled, user, workspace, or the name of the package that brought it."""

    @property
    def code(self) -> Path:
        """The light Python of the skill; it may be absent."""
        return self.folder / "skill.py"


@dataclass(frozen=True)
class Skill:
    """A job that the tutor can run in its own process."""

    name: str
    """Name, equal to the folder's."""
    title: Text
    """Name for people."""
    description: str
    """What it does and when to use it."""
    stage: str
    """train, prepare, evaluate …"""
    folder: Path
    """Where it lives; `scripts/` is below."""
    params: type[Contract]
    """Its own parameters."""
    check: Check
    """`check(facts, params)`: what would go wrong, before it does."""
    footprint: FootprintOf
    """`footprint(model, params)`: which weights move."""
    build: Build
    """`build(plan, folder)`: the job that a launcher runs."""
    suggest: Suggest | None = None
    """`suggest(facts)`: parameters that suit these facts, with a reason for each; optional."""
