"""What the pages promise exists: commands, files, and the same in both languages."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tutor_agent.cli.commands import tutor

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "README.zh.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")


def _page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _commands(page: str) -> set[str]:
    """Return what follows `tutor` in code, where it is the name of a command."""
    code = re.findall(r"`([^`\n]+)`", page) + re.findall(r"^    (.+)$", page, re.MULTILINE)
    return {word for line in code for word in re.findall(r"\btutor ([a-z]+)\b", line)}


@pytest.mark.parametrize("name", PAGES)
def test_commands_that_are_named_exist(name: str) -> None:
    assert _commands(_page(name)) <= set(tutor.commands)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_somewhere(name: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", _page(name)):
        assert target.startswith("http") or (ROOT / target).exists(), target


def test_both_readmes_show_the_same_commands() -> None:
    assert _commands(_page("README.md")) == _commands(_page("README.zh.md"))


def test_the_set_up_is_two_commands() -> None:
    for name in ("README.md", "README.zh.md"):
        assert "pip install -e . && tutor demo" in _page(name)
        assert "pip install -e '.[test]' && pytest" in _page(name)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "-e '.[test]' && pytest" in script


def test_top_level_holds_what_the_architecture_names() -> None:
    allowed = {"tutor_agent", "skills", "knowledge", "tests", "pyproject.toml", "hatch_build.py"}
    allowed |= {*PAGES, "LICENSE", ".ci", ".git", ".gitignore"}
    tool_caches = {".pytest_cache", ".ruff_cache", ".import_linter_cache", ".venv", "venv", "dist"}
    found = {path.name for path in ROOT.iterdir() if not path.name.endswith(".egg-info")}
    assert found <= allowed | tool_caches | {".hypothesis", ".coverage", "build", ".tutor", "runs"}
