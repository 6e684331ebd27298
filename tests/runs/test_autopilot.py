"""A run that diverges is repaired by its own supervisor, again and again, and followed to its good end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.runs.mending import install_counting_skill
from tutor_agent.cli.live import follow
from tutor_agent.cli.output import Output
from tutor_agent.core.plan import Plan
from tutor_agent.probe.machine import inspect_machine
from tutor_agent.runs.begin import Place, begin_run
from tutor_agent.runs.folder import RunFolder
from tutor_agent.runs.launch.record import Timing
from tutor_agent.runs.view import read_run
from tutor_agent.skillkit.registry import find_skills

if TYPE_CHECKING:
    import pytest

    from tests.runs.conftest import Runs


def start(runs: Runs, **params: object) -> RunFolder:
    """Start a run far above the ceiling of its learning rate, the way every run is started."""
    install_counting_skill()
    plan = Plan.model_validate(
        {
            **runs.plan.model_dump(mode="json"),
            "skill": "counting",
            "params": {"ceiling": 1e-4, **params},
            "optim": {"learning_rate": 0.5},
            "guard": {"autopilot": "bounded"},
        }
    )
    timing = Timing(poll=0.05, startup=120, grace=20)
    place = Place(runs.root, inspect_machine(runs.root.parent), runs.root / "model", timing)
    return begin_run(place, plan, {}, find_skills().get("counting"))


def test_the_autopilot_repairs_until_the_fault_is_gone_and_is_followed(
    runs: Runs, capsys: pytest.CaptureFixture[str]
) -> None:
    diverging = start(runs)
    last = follow(diverging.name, str(diverging.path), Output("en"), poll_seconds=0.05)
    second, third = RunFolder(runs.root / "fake-2"), RunFolder(runs.root / "fake-3")

    assert (last.name, last.state, last.fault_gone, last.held) == (
        third.name,
        "completed",
        True,
        12,
    )
    first = read_run(diverging.path)
    assert (first.state, first.cause, first.repaired_by) == ("halted", "lr_too_high", second.name)
    rates = [folder.load_plan().optim.learning_rate for folder in (diverging, second, third)]
    assert rates[0] > rates[1] > 1e-4 >= rates[2]
    assert [(t.fix, t.by, t.outcome) for t in last.trials] == [
        ("usual-lr", "autopilot", "back"),
        ("lower-lr", "autopilot", "gone"),
    ]
    begun = [folder.load_lineage().resume_from for folder in (second, third)]
    assert begun == [str(diverging.checkpoints / "checkpoint-3"), None]
    assert "Repair of fake-2 (lr_too_high)" in third.why_path.read_text(encoding="utf-8")

    shown = capsys.readouterr().out
    assert "training goes on as fake-2" in shown
    assert "training goes on as fake-3" in shown
    assert "自动修复已应用一项安全的修复" in diverging.report.read_text(encoding="utf-8")
    assert "the fault is gone, held for 12 steps" in third.report.read_text(encoding="utf-8")


def test_an_autopilot_that_breaks_does_not_hurt_the_end(runs: Runs) -> None:
    folder = start(runs, fragile=True)
    assert runs.ended(folder) == "halted"
    view = read_run(folder.path)
    assert (view.cause, view.repaired_by) == ("lr_too_high", None)
    assert view.autopilot is not None
    assert "The autopilot failed" in view.autopilot.en
    assert "自动修复在处理这个结局时出错" in folder.report.read_text(encoding="utf-8")
    log = (folder.attempt(0) / "supervisor.log").read_text(encoding="utf-8")
    assert "this skill is broken" in log
