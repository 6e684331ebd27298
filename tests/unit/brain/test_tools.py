"""The tools on real files: what the model sees, what the face gets, what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tutor_agent.actions.context import Context
from tutor_agent.brain.tools import BY_NAME, TOOLS, Desk, Failure, ToolResult, call_tool
from tutor_agent.brain.tools.sheets import load_sheet
from tutor_agent.core.advice import Advice
from tutor_agent.core.errors import NotFoundError

if TYPE_CHECKING:
    from pathlib import Path

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    rows = "\n".join(f"问题{n}怎么办？,请这样处理第{n}种情况。" for n in range(40))
    (tmp_path / "faq.csv").write_text(f"question,answer\n{rows}", encoding="utf-8")
    return Desk(Context(tmp_path, "zh"), lambda _text: None)


def use(desk: Desk, tool: str, **arguments: Any) -> ToolResult:
    outcome = call_tool(BY_NAME[tool], desk, arguments)
    assert isinstance(outcome, ToolResult), outcome
    json.dumps(outcome.data)
    return outcome


def fail(desk: Desk, tool: str, **arguments: Any) -> Failure:
    outcome = call_tool(BY_NAME[tool], desk, arguments)
    assert isinstance(outcome, Failure)
    return outcome


def test_every_argument_is_explained_to_the_model() -> None:
    for tool in TOOLS:
        for name, field in tool.parameters.model_fields.items():
            assert field.description, f"{tool.name}.{name}"


def test_what_writes_spends_or_stops_needs_approval() -> None:
    needing = {tool.name for tool in TOOLS if tool.approval}
    assert needing == {"start_run", "stop_run", "resume_run", "apply_fix"}
    assert all(tool.preview for tool in TOOLS if tool.approval)


def test_data_rows_stay_here_unless_allowed(desk: Desk) -> None:
    assert "samples" not in use(desk, "inspect_data", path="faq.csv").data
    allowed = Desk(desk.context, desk.report, share_rows=True)
    assert use(allowed, "inspect_data", path="faq.csv").data["samples"]


def test_sentences_reach_the_model_in_one_language(desk: Desk) -> None:
    made = use(desk, "make_plan", model=MODEL, data="faq.csv")
    words = json.dumps(made.data, ensure_ascii=False)
    assert '"zh"' not in words.replace('"language": "zh"', "")
    assert made.data["reasons"]["skill"]


def test_a_plan_is_kept_changed_and_explained(desk: Desk) -> None:
    made = use(desk, "make_plan", model=MODEL, data="faq.csv", name="mine")
    assert isinstance(made.view, Advice)
    entry = {"path": "optim.learning_rate", "op": "set", "value": 1e-5}
    changed = use(desk, "change_plan", change=[entry])
    assert changed.data["plan"]["optim"]["learning_rate"] == 1e-5
    assert "1e-5" in changed.summary.zh
    assert load_sheet(desk.context.workspace, "mine").plan.optim.learning_rate == 1e-5
    reason = use(desk, "explain_choice", field="r")
    assert reason.data["field"] == "params.r"
    assert reason.data["reason"]


def test_what_was_weighed_stays_with_a_changed_plan(desk: Desk) -> None:
    made = use(desk, "make_plan", model=MODEL, data="faq.csv")
    entry = {"path": "optim.max_steps", "op": "set", "value": 20}
    changed = use(desk, "change_plan", change=[entry])
    assert [c["skill"] for c in changed.data["weighed"]] == [
        c["skill"] for c in made.data["weighed"]
    ]


def test_a_wrong_change_says_what_is_near(desk: Desk) -> None:
    use(desk, "make_plan", model=MODEL, data="faq.csv")
    entry = {"path": "optim.learning_rat", "value": 1}
    assert "optim.learning_rate" in fail(desk, "change_plan", change=[entry]).text.en


def test_wrong_arguments_name_the_right_ones(desk: Desk) -> None:
    assert "path" in fail(desk, "inspect_data", file="faq.csv").text.zh


def test_without_a_plan_there_is_nothing_to_change(desk: Desk) -> None:
    fail(desk, "change_plan", change=[])
    with pytest.raises(NotFoundError):
        load_sheet(desk.context.workspace, "none")


@pytest.mark.parametrize(
    ("typed", "allowed"),
    [
        ("", False),
        ("look at {path}", True),
        ("看看{path}里的数据", True),
        ("look at {path}.bak", False),
        ("look at /other{path}", False),
    ],
)
def test_a_path_outside_must_be_typed_as_a_whole(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory, typed: str, allowed: bool
) -> None:
    path = tmp_path_factory.mktemp("outside") / "x.csv"
    path.write_text("question,answer\na,b\n", encoding="utf-8")
    asked = Desk(desk.context, desk.report, typed.format(path=path))
    outcome = call_tool(BY_NAME["inspect_data"], asked, {"path": str(path)})
    assert isinstance(outcome, ToolResult) is allowed


def test_a_link_does_not_lead_out_of_the_workspace(
    desk: Desk, tmp_path_factory: pytest.TempPathFactory
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "x.csv"
    outside.write_text("question,answer\na,b\n", encoding="utf-8")
    (desk.context.workspace / "link.csv").symlink_to(outside)
    fail(desk, "inspect_data", path="link.csv")


def test_a_change_cannot_smuggle_a_path_in(desk: Desk) -> None:
    use(desk, "make_plan", model=MODEL, data="faq.csv")
    entry = {"path": "data.test", "op": "set", "value": "/etc/passwd"}
    assert "outside" in fail(desk, "change_plan", change=[entry]).text.en


def test_files_are_found_but_not_those_of_runs_or_hidden_ones(desk: Desk) -> None:
    workspace = desk.context.workspace
    for name in (
        "data/deep/er/a.jsonl",
        "data/b.parquet",
        "runs/x/c.csv",
        ".tutor/d.json",
        "n.txt",
    ):
        path = workspace / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    found = use(desk, "list_files").data["files"]
    assert set(found) == {"faq.csv", "data/b.parquet", "data/deep/er/a.jsonl"}


def test_a_defect_in_a_tool_does_not_end_the_talk(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tutor_agent.brain.tools import looking

    def broken(_context: Context, _words: str | None) -> Any:
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr(looking, "see_machine", broken)
    assert "a defect" in fail(desk, "inspect_machine").text.en


def test_diagnosis_gives_causes_with_fixes(desk: Desk) -> None:
    found = use(desk, "diagnose_text", words="torch.OutOfMemoryError: CUDA out of memory.")
    assert found.data["verdict"] == "fault"
    first = found.data["findings"][0]
    assert first["cause"].startswith("oom")
    assert all(isinstance(fix["title"], str) for fix in first["fixes"])


def test_knowledge_names_its_card(desk: Desk) -> None:
    found = use(desk, "look_up", question="学习率应该设多少")
    assert found.data["sure"]
    assert found.data["cards"][0]["card"] == "learning-rate"


def test_runs_are_empty_at_first(desk: Desk) -> None:
    assert use(desk, "list_runs").data == {"runs": []}
    fail(desk, "show_run")
