"""Fault cards: one Markdown file each in `knowledge/faults`. Adding a file is all it takes.

A card names a cause and lists `signs`. All parts of one sign must hold together; different signs add
up. `against` are signs that speak for something else. A healthy pattern that looks like a fault is a
card too (`kind: healthy`).
"""

from __future__ import annotations

import difflib
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import yaml
from pydantic import Field, JsonValue

from tutor_agent.core.changes import PlanChange
from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.findings import Severity
from tutor_agent.core.frontmatter import split_frontmatter, split_languages
from tutor_agent.core.resources import bundled
from tutor_agent.core.text import Text
from tutor_agent.diagnose.conditions import check_condition

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

Stage = Literal["install", "data", "load", "train", "evaluate", "save", "merge", "generate"]


class Sign(Contract):
    """One thing that can be seen; every part given must hold."""

    when: str = ""
    """A condition over metrics and settings (see conditions)."""
    matches: tuple[str, ...] = ()
    """Regular expressions over the log, the symptom and the settings; one must be found."""
    symptoms: tuple[str, ...] = ()
    """Regular expressions, or `@name` of a phrase, over what the person says; one must be found."""
    settings: tuple[str, ...] = ()
    """Regular expressions over `key: value` lines of the settings, in lower case."""
    check: str = ""
    """A registered Python check."""
    phase: str = ""
    """The phase in which the log must end."""
    weight: float | None = Field(default=None, gt=0, lt=1)
    """How strongly it speaks; by default what its kind is worth."""
    evidence: Text | None = None
    """What it shows, with `{expression}`, `{group}` or `{value}` places."""


class CardFix(Contract):
    """A way out, before its figures are filled in."""

    id: str
    """Stable name inside the card."""
    safety: Literal["safe", "ask", "manual"]
    """Who may apply it."""
    title: Text
    """What is done, in one sentence."""
    change: PlanChange = PlanChange()
    """How the plan changes; a value `{figure}` is filled in."""
    resume: Literal["last_good", "start", "none"] = "last_good"
    """Where the repaired run begins."""
    when: str = ""
    """Offered only where this condition holds."""
    needs: tuple[str, ...] = ()
    """What the signs must have found: names that the title fills in."""


class Confusion(Contract):
    """Another cause with the same look."""

    slug: str
    """The other cause."""
    probe: Text
    """The cheapest thing that tells the two apart."""


class Source(Contract):
    """Where the knowledge comes from."""

    name: str
    """Project, paper, documentation or measurement."""
    url: str = ""
    """Its address, if it has one."""


class Example(Contract):
    """A case that must, or must not, be named by the card."""

    fires: bool
    """Whether the card must come out first."""
    log: str = ""
    """Text of a log."""
    symptom: str = ""
    """What a person says."""
    config: dict[str, JsonValue] = {}
    """Settings."""


class Fault(Contract):
    """One thing that goes wrong, or looks as if it did."""

    slug: str = Field(pattern=r"^[a-z0-9]+(?:[_-][a-z0-9]+)*$")
    """The cause it names; the file is called after it."""
    code: str = Field(pattern=r"^[A-Z]{3}\d{3}$")
    """Stable code, never used again."""
    kind: Literal["fault", "healthy"] = "fault"
    """A fault, or expected behaviour that looks like one."""
    severity: Severity = "stop"
    """stop: the run is useless as it is; warn: act soon; hint: worth knowing."""
    stages: tuple[Stage, ...] = Field(min_length=1)
    """Where it shows."""
    versions: dict[str, str] = {}
    """Package versions to which the card applies."""
    title: Text
    """The fault in one sentence."""
    sayings: tuple[str, ...] = ()
    """Complaints in people's own words, in both languages; to resemble one is a weak sign."""
    signs: tuple[Sign, ...] = Field(min_length=1)
    """What speaks for it."""
    against: tuple[Sign, ...] = ()
    """What speaks against it."""
    fixes: tuple[CardFix, ...] = ()
    """Ways out, best first."""
    confused_with: tuple[Confusion, ...] = ()
    """Causes with the same look."""
    sources: tuple[Source, ...] = Field(min_length=1)
    """Where the knowledge comes from."""
    examples: tuple[Example, ...] = Field(min_length=2)
    """Run as tests."""
    body: Text
    """Meaning, reasons, proof and prevention, as Markdown."""

    @property
    def cause(self) -> str:
        """The cause that the card stands for: its slug, or `healthy`."""
        return "healthy" if self.kind == "healthy" else self.slug


def faults_dir() -> Path:
    """Return the folder of the bundled cards."""
    return bundled("knowledge") / "faults"


@lru_cache(maxsize=1)
def load_faults() -> tuple[Fault, ...]:
    """Return all bundled cards by slug."""
    return tuple(_bundled_fault(path) for path in sorted(faults_dir().glob("*.md")))


def named_faults(slugs: Iterable[str]) -> tuple[Fault, ...]:
    """Return the bundled cards with these slugs, reading no other: the first finding of a run is urgent."""
    return tuple(_bundled_fault(faults_dir() / f"{slug}.md") for slug in sorted(slugs))


@lru_cache(maxsize=512)
def _bundled_fault(path: Path) -> Fault:
    return load_fault(path)


def find_fault(name: str) -> Fault:
    """Return the card with this slug or code.

    Raises:
        NotFoundError: There is none; the nearest slugs are named.
    """
    wanted = name.strip().lower().replace("-", "_")
    for fault in load_faults():
        if wanted in {fault.slug.replace("-", "_"), fault.code.lower()}:
            return fault

    near = difflib.get_close_matches(wanted, [f.slug for f in load_faults()], n=3, cutoff=0.3)
    raise NotFoundError(
        f"No fault is called {name!r}. Nearest: {', '.join(near) or 'none'}.",
        f"没有名为 {name!r} 的故障。相近的有：{'、'.join(near) or '无'}。",
    )


def load_fault(path: Path) -> Fault:
    """Read one card.

    Raises:
        InvalidPlanError: A key is unknown or a value is not allowed.
        UnreadableError: The file, a condition or a pattern cannot be understood.
    """
    head, body = split_frontmatter(path)
    fault = Fault.parse({**head, "body": split_languages(body, path)}, str(path))
    for sign in (*fault.signs, *fault.against):
        _check_sign(sign, path)
    for fix in fault.fixes:
        if fix.when:
            check_condition(fix.when)
    return fault


@lru_cache(maxsize=1)
def phrases() -> dict[str, str]:
    """Return the shared phrases: what people say, by name, as one pattern each."""
    path = faults_dir() / "phrases.yaml"
    data: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {
        name: "|".join(f"(?:{pattern})" for pattern in patterns) for name, patterns in data.items()
    }


@lru_cache(maxsize=4096)
def pattern(source: str) -> re.Pattern[str]:
    """Compile a pattern; `@name` stands for a shared phrase."""
    if source.startswith("@"):
        source = phrases()[source[1:]]
    return re.compile(source, re.IGNORECASE | re.MULTILINE)


def _check_sign(sign: Sign, path: Path) -> None:
    if sign.when:
        check_condition(sign.when)
    for source in (*sign.matches, *sign.symptoms, *sign.settings):
        try:
            pattern(source)
        except (re.error, KeyError) as error:
            raise UnreadableError(
                f"{path}: the pattern {source!r} cannot be used: {error}. Mend it.",
                f"{path}：模式 {source!r} 无法使用：{error}。请修正。",
            ) from None
