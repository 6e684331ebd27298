"""A line of repairs: which fix comes next, where it begins, what the ledger says, and when it is over."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.runs.mending import checkpoint, ended, finding, fix, install_counting_skill
from tutor_agent.actions.context import Context
from tutor_agent.actions.fix import propose_fix
from tutor_agent.actions.runs import resume_run
from tutor_agent.cli.commands import run as command
from tutor_agent.core.errors import NotFoundError, NotPossibleError
from tutor_agent.core.job import Job
from tutor_agent.core.processes import ProcessId
from tutor_agent.runs.autopilot import MOST_REPAIRS, Deed, decide, repair_by_itself
from tutor_agent.runs.folder import Status, write_status
from tutor_agent.runs.launch import local
from tutor_agent.runs.launch.record import Launch
from tutor_agent.runs.report import ledger_texts, repair_verdict, write_report
from tutor_agent.runs.view import read_run

if TYPE_CHECKING:
    from pathlib import Path

    from tutor_agent.core.plan import Plan
    from tutor_agent.runs.folder import RunFolder


@pytest.fixture
def context(workspace: Path) -> Context:
    return Context(workspace=workspace)


def at_rate(plan: Plan, rate: float, **guard: str) -> Plan:
    changed = {
        "optim": plan.optim.model_copy(update={"learning_rate": rate}),
        "guard": plan.guard.model_copy(update=guard),
    }
    return plan.model_copy(update=changed)


def repair_again(context: Context, folder: RunFolder, **status: object) -> RunFolder:
    """Make the run that the proposal for `folder` leads to; the fault came back in it."""
    proposal = propose_fix(context, folder.name)
    known = {"fault_gone": False, **status}
    line = {"parent": folder.name, "fix": proposal.fix.id}
    return ended(context.runs, proposal.after, proposal.finding, **line, **known)


def test_the_ladder_is_climbed_and_its_end_is_said(context: Context, plan: Plan) -> None:
    folder = ended(context.runs, at_rate(plan, 1e-2), finding())
    rates: list[float] = []
    tried: list[str] = []
    for _ in range(3):
        folder = repair_again(context, folder)
        rates.append(folder.load_plan().optim.learning_rate)
        tried.append(folder.load_lineage().fix or "")
    with pytest.raises(NotPossibleError) as over:
        propose_fix(context, folder.name)
    assert tried == ["usual", "lower", "lower"], "a figure is moved further twice, then no more"
    assert rates == pytest.approx([1e-5, 1e-6, 1e-7])
    assert "usual, lower, lower" in over.value.text.en
    assert "You can: do look." in over.value.text.en
    assert "您可以：做 look。" in over.value.text.zh
    assert command(["fix", folder.name, "--yes"]) == 2


def test_another_fault_of_the_same_look_does_not_begin_the_ladder_anew(
    context: Context, plan: Plan
) -> None:
    clip = fix("usual", 1e-6)
    first = ended(context.runs, at_rate(plan, 1e-2), finding())
    other = finding(clip, *finding().fixes[1:], cause="no_grad_clipping")
    line = {"parent": first.name, "fix": "usual", "fault_gone": False}
    second = ended(context.runs, at_rate(plan, 1e-5), other, **line)
    assert propose_fix(context, second.name).fix.id == "lower"
    unlike = finding(cause="overfitting")
    third = ended(context.runs, at_rate(plan, 1e-3), unlike, **line)
    assert propose_fix(context, third.name).fix.id == "usual"


def test_a_repair_that_failed_is_not_offered_again_by_its_parent(
    context: Context, plan: Plan
) -> None:
    first = ended(context.runs, at_rate(plan, 1e-2), finding())
    line = {"parent": first.name, "fix": "usual"}
    ended(context.runs, at_rate(plan, 1e-5), None, **line, state="stopped")
    assert propose_fix(context, first.name).fix.id == "usual", "it was not tried to its end"
    ended(context.runs, at_rate(plan, 1e-5), finding(), **line, fault_gone=False)
    assert propose_fix(context, first.name).fix.id == "lower"


def test_no_fix_leads_back_to_a_plan_that_ran(context: Context, plan: Plan) -> None:
    there_and_back = finding(fix("back", 1e-2), fix("on", 1e-3))
    first = ended(context.runs, at_rate(plan, 1e-2), finding())
    line = {"parent": first.name, "fix": "usual", "fault_gone": False}
    second = ended(context.runs, at_rate(plan, 1e-5), there_and_back, **line)
    assert propose_fix(context, second.name).fix.id == "on"


def test_a_safe_step_further_comes_before_one_that_must_be_asked_for(
    context: Context, plan: Plan
) -> None:
    ladder = finding(fix("lower", 0.1, op="multiply"), fix("dear", 1e-9, "ask"))
    folder = ended(context.runs, at_rate(plan, 1e-2), ladder)
    chosen: list[str] = []
    for _ in range(3):
        folder = repair_again(context, folder)
        chosen.append(folder.load_lineage().fix or "")
    assert chosen == ["lower", "lower", "dear"]


def test_the_run_goes_back_to_before_the_fault_and_then_further(
    context: Context, plan: Plan
) -> None:
    first = ended(context.runs, at_rate(plan, 1e-2), finding(step=5))
    early, late, after = (checkpoint(first, step) for step in (2, 4, 6))
    proposal = propose_fix(context, first.name)
    assert proposal.resume_from == str(late), f"not {after.name}: the fault had shown by then"
    line = {"parent": first.name, "fix": "usual", "resume_from": str(late), "fault_gone": False}
    second = ended(context.runs, proposal.after, finding(step=5), **line)
    assert propose_fix(context, second.name).resume_from == str(early)
    own = checkpoint(second, 5)
    assert propose_fix(context, second.name).resume_from == str(own)


def test_the_fault_that_ended_the_run_is_repaired_not_the_first_that_was_seen(
    context: Context, plan: Plan
) -> None:
    folder = ended(context.runs, plan, finding())
    warned = finding(cause="overfitting", severity="warn")
    folder.findings.write_text(
        f"{warned.model_dump_json()}\n{finding().model_dump_json()}\n", encoding="utf-8"
    )
    assert propose_fix(context, folder.name).finding.cause == "lr_too_high"
    assert propose_fix(context, folder.name, cause="overfitting").finding.cause == "overfitting"


def test_what_cannot_be_repaired_now_is_refused(context: Context, plan: Plan) -> None:
    folder = ended(context.runs, at_rate(plan, 1e-2), finding())
    with pytest.raises(NotFoundError, match="usual, lower, look"):
        propose_fix(context, folder.name, fix_id="magic")
    with pytest.raises(NotPossibleError, match="do look"):
        propose_fix(context, folder.name, fix_id="look")
    line = {"parent": folder.name, "fix": "usual"}
    child = ended(context.runs, at_rate(plan, 1e-5), None, **line, state="running")
    for refused in (propose_fix, resume_run):
        with pytest.raises(NotPossibleError, match=f"{child.name}.* is under way"):
            refused(context, folder.name)
    owner = ProcessId(pid=2**22, started=1.0)
    write_status(child, Status(state="running", supervisor=owner))
    assert propose_fix(context, folder.name).fix.id == "usual", "nobody works on it any more"


def test_a_run_that_was_repaired_is_not_repaired_again_unless_a_fix_is_named(
    context: Context, plan: Plan
) -> None:
    folder = ended(context.runs, at_rate(plan, 1e-2), finding())
    line = {"parent": folder.name, "fix": "usual"}
    done = {"state": "completed", "fault_gone": True}
    child = ended(context.runs, at_rate(plan, 1e-5), None, **line, **done)
    with pytest.raises(NotPossibleError, match=f"repaired already: in '{child.name}'"):
        propose_fix(context, folder.name)
    assert propose_fix(context, folder.name, fix_id="lower").fix.id == "lower"


def test_the_ledger_tells_the_whole_line_in_both_languages(context: Context, plan: Plan) -> None:
    first = ended(context.runs, at_rate(plan, 1e-2), finding())
    second = repair_again(context, first, held=3)
    line = {"parent": second.name, "fix": "lower", "by": "autopilot"}
    done = {"state": "completed", "fault_gone": True, "held": 40}
    third = ended(context.runs, at_rate(plan, 1e-6), None, **line, **done)
    for folder in (first, second, third):
        trials = read_run(folder.path).trials
        assert [t.run for t in trials] == [second.name, third.name]
        assert [t.outcome for t in trials] == ["back", "gone"]
    texts = ledger_texts(read_run(third.path).trials)
    assert texts[0].en == f"{second.name}: do usual (usual): the fault came back, held for 3 steps"
    assert texts[1].zh == f"{third.name}：做 lower（lower，自动修复）：故障已消除，坚持了 40 步"
    write_report(third, read_run(third.path))
    page = third.report.read_text(encoding="utf-8")
    assert f"### Repairs that were tried\n\n- {texts[0].en}\n- {texts[1].en}" in page
    assert f"### 修复记录\n\n- {texts[0].zh}\n- {texts[1].zh}" in page


def test_show_and_runs_tell_the_line(
    context: Context, plan: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ended(context.runs, at_rate(plan, 1e-2), finding(), repaired_by="fake-2")
    second = repair_again(context, first, by="autopilot")
    assert command(["show", first.name]) == 0
    assert f"{second.name}: do usual (usual, by the autopilot): the fault came back" in (
        capsys.readouterr().out
    )
    assert command(["runs"]) == 0
    shown = capsys.readouterr().out
    assert f"→ {second.name}" in shown
    assert f"↳ {first.name} ✗" in shown
    assert command(["show", second.name, "--json"]) == 0
    (trial,) = json.loads(capsys.readouterr().out)["trials"]
    assert (trial["parent"], trial["fix"], trial["by"]) == (first.name, "usual", "autopilot")
    assert (trial["outcome"], trial["cause"]) == ("back", "lr_too_high")


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"state": "running", "held": 4}, "has held for 4 steps so far"),
        ({"state": "running", "held": 30, "fault_gone": True}, "holds: 30 steps without the fault"),
        ({"state": "completed", "held": 30, "fault_gone": True}, "The repair worked"),
        ({"state": "halted", "held": 3, "fault_gone": False}, "came back"),
        ({"state": "stopped", "held": 3}, None),
    ],
)
def test_how_long_a_repair_has_held_is_told(
    context: Context, plan: Plan, status: dict[str, object], said: str | None
) -> None:
    first = ended(context.runs, at_rate(plan, 1e-2), finding())
    line = {"parent": first.name, "fix": "usual"}
    child = ended(context.runs, at_rate(plan, 1e-5), None, **line, **status)
    verdict = repair_verdict(read_run(child.path))
    assert (verdict is None) == (said is None)
    assert verdict is None or said is None or said in verdict.en


def bounded(plan: Plan, rate: float = 1e-2) -> Plan:
    return at_rate(plan, rate, autopilot="bounded")


def test_the_autopilot_acts_only_where_it_was_allowed(context: Context, plan: Plan) -> None:
    asked = ended(context.runs, at_rate(plan, 1e-2), finding())
    assert repair_by_itself(asked, "halted", "lr_too_high") is None
    folder = ended(context.runs, bounded(plan), finding())
    assert repair_by_itself(folder, "completed", None) is None
    assert repair_by_itself(folder, "stopped", "lr_too_high") is None
    folder.stop_marker.touch()
    assert repair_by_itself(folder, "halted", "lr_too_high") is None
    assert len(list(context.runs.iterdir())) == 2, "no run was made"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (finding(fix("dear", 1e-5, "ask"), fix("lower", 1e-6)), "(do dear) changes more than"),
        (
            finding(fix("look", safety="manual"), fix("lower", 1e-6)),
            "only you can do this: do look",
        ),
        (finding(confidence=0.3), "the cause is not sure enough"),
        (finding(severity="hint"), "the cause is not sure enough"),
        (finding(fix("same", 1e-2)), "every repair of this fault was tried"),
        (None, "the cause is not known"),
    ],
)
def test_the_autopilot_leaves_the_rest_to_the_person_and_says_why(
    context: Context, plan: Plan, found: object, said: str
) -> None:
    folder = ended(context.runs, bounded(plan), found)  # pyright: ignore[reportArgumentType]
    deed = repair_by_itself(folder, "halted", "lr_too_high" if found else None)
    assert deed is not None
    assert deed.child is None
    assert said in deed.text.en
    assert deed.text.zh.startswith("自动修复")


def test_the_autopilot_makes_three_repairs_along_a_line(context: Context, plan: Plan) -> None:
    ladder = finding(*(fix(f"f{number}", 10.0**-number) for number in range(3, 9)))
    folder = ended(context.runs, bounded(plan), ladder)
    for made in range(MOST_REPAIRS):
        repair = decide(folder, folder.load_plan(), "lr_too_high")
        assert not isinstance(repair, Deed), f"after {made} repairs"
        line = {"parent": folder.name, "fix": repair.fix.id, "by": "autopilot"}
        folder = ended(context.runs, repair.after, ladder, **line, fault_gone=False)
    last = decide(folder, folder.load_plan(), "lr_too_high")
    assert isinstance(last, Deed)
    assert f"has made {MOST_REPAIRS} repairs" in last.text.en
    assert propose_fix(context, folder.name).fix.id == "f6", "a person may go on"


def test_a_stop_that_comes_while_the_repair_starts_is_passed_on(
    context: Context, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_counting_skill()
    counting = bounded(plan).model_copy(update={"skill": "counting", "params": {"ceiling": 1.0}})
    folder = ended(context.runs, counting, finding())
    Launch(attempt=0, job=Job(script="x"), model="m", argv=()).save(folder)

    def start(child: RunFolder, *_: object, **__: object) -> None:
        folder.stop_marker.touch()
        assert child.load_lineage().by == "autopilot"

    monkeypatch.setattr(local, "start", start)
    deed = repair_by_itself(folder, "halted", "lr_too_high")
    assert deed is not None
    assert deed.child is not None
    assert (context.runs / deed.child / "STOP").exists()


def test_a_repair_that_cannot_start_is_said_and_hurts_nobody(context: Context, plan: Plan) -> None:
    folder = ended(context.runs, bounded(plan), finding())
    deed = repair_by_itself(folder, "halted", "lr_too_high")
    assert deed is not None
    assert deed.child is None
    assert deed.text.en.startswith("The autopilot could not start the repair (do usual)")
