from __future__ import annotations

import resource
import signal
from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.changes import PlanChange
from tutor_agent.core.errors import NotFoundError
from tutor_agent.core.findings import Finding
from tutor_agent.core.text import Text
from tutor_agent.runs.control import find_run, reject_broken, resume
from tutor_agent.runs.folder import Lineage, Status, create_run, write_status
from tutor_agent.runs.view import list_runs, read_run

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan


def test_a_new_run_has_all_its_files_and_its_own_number(tmp_path: Path, plan: Plan) -> None:
    lineage = Lineage(
        parent="fake-1", fix="lower", change=PlanChange.set(optim__learning_rate=1e-5)
    )
    first = create_run(tmp_path / "跑 runs", plan, {}, facts={"packages": {"torch": "2.13"}})
    second = create_run(tmp_path / "跑 runs", plan, {}, lineage=lineage)
    assert [first.name, second.name] == ["fake-1", "fake-2"]
    assert first.load_plan() == plan
    assert first.load_environment()["packages"] == {"torch": "2.13"}
    assert second.load_lineage() == lineage
    assert read_run(second.path).parent == "fake-1"
    assert read_run(second.path).state == "starting"
    names = {path.name for path in first.path.iterdir()}
    assert names >= {"plan.yaml", "why.yaml", "lineage.json", "environment.json", "status.json"}
    assert names >= {"logs", "checkpoints", "scene", "result", "events.jsonl", "findings.jsonl"}


def test_a_full_disk_leaves_the_old_status_and_no_half_run(tmp_path: Path, plan: Plan) -> None:
    folder = create_run(tmp_path, plan, {})
    write_status(folder, Status(state="running", step=7))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (16, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            write_status(folder, Status(state="completed", step=8))
        with pytest.raises(OSError, match="File too large"):
            create_run(tmp_path, plan, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert folder.status().step == 7
    assert {path.name for path in tmp_path.iterdir()} == {"fake-1"}
    assert not list(folder.path.glob(".status*"))


def test_a_damaged_status_counts_as_lost(tmp_path: Path, plan: Plan) -> None:
    folder = create_run(tmp_path, plan, {})
    folder.status_path.write_text('{"state": "runn', encoding="utf-8")
    assert read_run(folder.path).state == "lost"


def test_the_surest_finding_of_a_cause_counts(tmp_path: Path, plan: Plan) -> None:
    folder = create_run(tmp_path, plan, {})
    for cause, confidence in (
        ("overfitting", 0.5),
        ("lr_too_high", 0.6),
        ("overfitting", 0.9),
        ("overfitting", 0.4),
    ):
        folder.add_finding(
            Finding(cause=cause, title=Text.same(cause), confidence=confidence, evidence=())
        )
    with folder.findings.open("a", encoding="utf-8") as stream:
        stream.write('{"cause": "cut')
    found = [(finding.cause, finding.confidence) for finding in folder.load_findings()]
    assert found == [("overfitting", 0.9), ("lr_too_high", 0.6)]


def test_runs_are_found_by_name_newest_number_or_told_what_is_near(
    tmp_path: Path, plan: Plan
) -> None:
    with pytest.raises(NotFoundError, match="holds no runs"):
        find_run(tmp_path / "nowhere", "fake")
    for _ in range(11):
        create_run(tmp_path, plan, {})
    assert find_run(tmp_path, "fake-2").name == "fake-2"
    assert find_run(tmp_path, "fake").name == "fake-11"
    with pytest.raises(NotFoundError, match="fake-"):
        find_run(tmp_path, "fak-3")
    (tmp_path / "fake-3" / "plan.yaml").write_text("name: [", encoding="utf-8")
    listed = [view.name for view in list_runs(tmp_path)]
    assert len(listed) == 10
    assert listed[0] == "fake-11"
    with pytest.raises(NotFoundError, match="no run"):
        read_run(tmp_path)


def test_rejected_checkpoints_never_overwrite_each_other(tmp_path: Path, plan: Plan) -> None:
    folder = create_run(tmp_path, plan, {})
    for _ in range(2):
        (folder.checkpoints / "checkpoint-6").mkdir()
        reject_broken(folder)
    rejected = sorted(path.name for path in (folder.checkpoints / "rejected").iterdir())
    assert rejected == ["checkpoint-6", "checkpoint-6.2"]


def test_a_run_that_never_started_cannot_be_resumed(tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(NotFoundError, match="tutor run"):
        resume(create_run(tmp_path, plan, {}))
