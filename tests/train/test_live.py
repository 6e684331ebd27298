"""A real run meets a real fault while the app watches: the card tells what broke."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.train import poisoned, tiny
from tests.tui.driving import WIDE, one, ready, until
from tests.tui.scenes import ScriptedTalk
from tutor_agent.actions.context import Context
from tutor_agent.core.plan import Plan
from tutor_agent.runs.folder import RunFolder, create_run
from tutor_agent.runs.launch import local
from tutor_agent.skillkit.registry import find_skills
from tutor_agent.tui.app import TutorApp
from tutor_agent.tui.widgets.diagnosis_card import DiagnosisCard

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.train


def _start(workspace: Path, model: Path) -> RunFolder:
    plan = Plan.load(tiny.make_run(workspace, "full-fine-tuning") / "plan.yaml")
    skill = find_skills().get(plan.skill)
    job = skill.build(plan, skill.folder)
    job = job.model_copy(
        update={
            "script": poisoned.__file__,
            "arguments": (job.script, *job.arguments),
            "environment": {**job.environment, "TUTOR_TEST_POISON": "weight"},
        }
    )
    folder = create_run(workspace / "runs", plan, {})
    local.start(folder, job, model_path=model)
    return folder


async def test_a_poisoned_weight_becomes_a_card_with_its_story(tmp_path: Path, llama: Path) -> None:
    app = TutorApp(Context(tmp_path, "en"), talk=ScriptedTalk, language="en")
    async with app.run_test(size=WIDE) as pilot:
        await ready(pilot, app)
        run = _start(tmp_path, llama)
        await until(pilot, lambda: app.main.query(DiagnosisCard), 120)
        await until(pilot, lambda: run.status().state == "halted", 120)
        await until(pilot, lambda: one(app, DiagnosisCard).story)
        story = " ".join(text.en for text in one(app, DiagnosisCard).story)
        assert "weights were broken already" in story
        assert "layers.1.mlp.up_proj" in story
