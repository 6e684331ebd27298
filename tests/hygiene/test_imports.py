"""Importing the faces must not drag in the heavy libraries; proven in a clean interpreter."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = ("torch", "transformers", "peft", "accelerate", "datasets", "pydantic_ai", "openai")
PROGRAM = "import sys, json, {module}; print(json.dumps(sorted(set(sys.modules) & set({names}))))"


@pytest.mark.parametrize(
    "module",
    [
        "tutor_agent.cli.commands",
        "tutor_agent.cli.loop",
        "tutor_agent.tui.app",
        "tutor_agent.tui.plain",
        "tutor_agent.brain.conversation",
        "tutor_agent.brain.ask",
        "tutor_agent.runs.supervise",
    ],
)
def test_no_heavy_library_is_imported(module: str) -> None:
    program = PROGRAM.format(module=module, names=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("module", ["tutor_agent", "tutor_agent.cli"])
def test_the_package_root_imports_nothing_of_ours(module: str) -> None:
    program = (
        f"import sys, {module}; "
        "print([m for m in sys.modules if m.startswith('tutor_agent.') and m != 'tutor_agent.cli'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_face_without_the_app_does_not_import_textual() -> None:
    program = PROGRAM.format(module="tutor_agent.cli.commands", names=("textual",))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == []
