"""Whole conversations with the built-in brain, in both languages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.brain.talker import Talker
from tutor_agent.brain.tools import BY_NAME
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_HALTED = Text(en="demo-1 halted at step 7.", zh="demo-1 在第 7 步暂停。")
_FINDING = {
    "cause": "lr_too_high",
    "title": "学习率太高",
    "confidence": 0.9,
    "evidence": ["第 7 步损失为 nan"],
    "fixes": [{"id": "lower", "title": "学习率降到十分之一", "safety": "safe"}],
}
_PROPOSAL = {
    "run": "demo-1",
    "cause": "lr_too_high",
    "finding": _FINDING,
    "fix": _FINDING["fixes"][0],  # pyright: ignore[reportIndexIssue, reportArgumentType]
    "resumes": True,
}


def _view(name: str = "demo-1", state: str = "running", **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "step": 3, "total_steps": 20, "findings": [], **more}


def _fakes(**more: Any) -> dict[str, Callable[[dict[str, Any]], Any]]:
    fakes: dict[str, Any] = {
        "start_run": lambda _: _view(),
        "show_run": lambda _: _view(),
        "propose_fix": lambda _: _PROPOSAL,
        "apply_fix": lambda _: _view("demo-2"),
        "stop_run": lambda _: _view(state="stopped"),
        "resume_run": lambda _: _view(),
        "inspect_machine": lambda _: {"cores": 4, "ram_gib": 16.0, "free_ram_gib": 12.0},
    }
    return {**fakes, **more}


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


def _write(path: Path, rows: int = 40) -> None:
    lines = [f"问题{n}怎么办？,请这样处理第{n}种情况。" for n in range(rows)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["question,answer", *lines]), encoding="utf-8")


def test_the_whole_loop_in_chinese(workspace: Path) -> None:
    _write(workspace / "客服.csv")
    talk = Talker(workspace, _fakes())

    said = talk.say("我有一个客服问答的 CSV，想微调一个小模型")
    assert talk.called[0] == "list_files"
    assert "inspect_data" in talk.called
    assert talk.called[-1] == "make_plan"
    assert "客服.csv" in said
    assert "建议" in said

    talk.say("学习率调到 1e-5，只跑 20 步")
    assert talk.called == ["change_plan"]
    changed = talk.arguments("change_plan")["change"]
    assert [(c["path"], c["value"]) for c in changed] == [
        ("optim.learning_rate", 1e-5),
        ("optim.max_steps", 20),
    ]

    assert "学习率" in talk.say("为什么学习率是 1e-5") or talk.called == ["explain_choice"]

    said = talk.say("启动吧")
    assert talk.called == ["start_run"]
    assert "跑到哪了" in said

    talk.say("跑到哪了")
    assert talk.arguments("show_run") == {"run": "demo-1"}

    said = talk.tell("halted", _HALTED, step=7, cause="lr_too_high")
    assert talk.called == ["propose_fix"]
    assert "第 7 步" in said
    assert "修复" in said

    said = talk.say("好的，修吧")
    assert talk.called[-1] == "apply_fix"
    assert talk.arguments("apply_fix") == {"run": "demo-1", "cause": "lr_too_high", "fix": "lower"}

    ended = _view("demo-2", "completed", held_out_before=2.0, held_out_after=1.0)
    talk.fakes["show_run"] = lambda _: ended
    said = talk.say("效果怎么样")
    assert talk.arguments("show_run") == {"run": "demo-2"}
    assert "变好了" in said
    assert "50.0%" in said


def test_the_loop_in_english_with_everything_said_at_once(workspace: Path) -> None:
    _write(workspace / "data" / "faq.csv")
    talk = Talker(workspace, _fakes())
    said = talk.say(
        "Fine-tune qwen2.5 0.5b on data/faq.csv with 2x3090, lr 1e-4, best quality, within 2 hours"
    )
    assert "list_files" not in talk.called
    plan = talk.arguments("make_plan")
    assert plan["model"] == "Qwen/Qwen2.5-0.5B"
    assert plan["machine"] == "2x3090"
    assert plan["wish"] == "quality"
    assert plan["max_hours"] == 2.0
    assert [(c["path"], c["value"]) for c in plan["change"]] == [("optim.learning_rate", 1e-4)]
    assert "I recommend" in said


def test_several_files_are_offered_by_number(workspace: Path) -> None:
    _write(workspace / "one.csv")
    _write(workspace / "two.csv")
    talk = Talker(workspace, _fakes())
    said = talk.say("I want to fine-tune a small model")
    assert "1." in said
    assert "2." in said
    first = next(line for line in said.splitlines() if line.startswith("1. "))[3:]
    talk.say("1")
    assert talk.arguments("inspect_data") == {"path": first}
    assert talk.called[-1] == "make_plan"


def test_without_files_the_path_is_asked_for_and_taken(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    assert "路径" in talk.say("我想微调一个小模型")
    outside = workspace.parent / "我的 数据.csv"
    _write(outside)
    talk.say(f'"{outside}"')
    assert talk.called[-1] == "make_plan"


def test_a_file_that_is_not_there_is_said_and_asked_for_again(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.say("用 nothing.csv 微调一个小模型")
    assert "nothing.csv" in said
    assert "make_plan" not in talk.called
    _write(workspace / "real.csv")
    talk.say("real.csv")
    assert talk.called[-1] == "make_plan"


def test_an_unclear_family_is_asked_about(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    said = talk.say("用 faq.csv 微调 deepseek")
    assert "make_plan" not in talk.called
    assert "deepseek-ai/" in said
    talk.say("deepseek 7b")
    assert talk.arguments("inspect_model") == {"model": "deepseek-ai/deepseek-llm-7b-chat"}


def test_wishes_before_the_plan_are_kept_for_it(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    talk.say("我想微调一个小模型")
    talk.say("rank 8，训练 1 轮")
    _write(workspace / "faq.csv")
    talk.say("faq.csv")
    change = {c["path"]: c["value"] for c in talk.arguments("make_plan")["change"]}
    assert change == {"params.r": 8, "optim.epochs": 1.0}


def test_a_factor_is_remembered_as_the_value_it_gave(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    talk.say("用 faq.csv 微调一个小模型，batch 4")
    talk.say("batch 翻倍")
    talk.say("越快越好")
    change = {c["path"]: c["value"] for c in talk.arguments("make_plan")["change"]}
    assert change["optim.micro_batch"] == 8


def test_another_method_makes_the_plan_anew(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    talk.say("用 faq.csv 微调一个小模型，rank 8")
    said = talk.say("为什么不用全参")
    assert "全参数" in said
    talk.say("用全参")
    plan = talk.arguments("make_plan")
    assert plan["skill"] == "full-fine-tuning"
    assert "change" not in plan


def test_a_refusal_is_accepted_and_a_yes_starts_after_all(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    talk.say("use faq.csv to tune a small model")
    talk.allow = False
    assert "nothing was done" in talk.say("start")
    talk.allow = True
    talk.say("yes")
    assert talk.called == ["start_run"]


def test_yes_agrees_to_what_was_offered_last(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    talk.tell("halted", _HALTED, step=7)
    talk.allow = False
    assert "保持原样" in talk.say("好的") or "stays" in talk.say("yes")
    talk.allow = True
    talk.say("好吧，修")
    assert talk.called[-1] == "apply_fix"


def test_a_run_that_cannot_be_repaired_is_explained(workspace: Path) -> None:
    fakes = _fakes(
        propose_fix=lambda _: Text(en="Only you can mend this.", zh="这个问题需要你动手。"),
        diagnose_run=lambda _: {"verdict": "fault", "findings": [_FINDING], "note": None},
    )
    talk = Talker(workspace, fakes)
    talk.say("你好")
    said = talk.tell("failed", _HALTED, cause="lr_too_high")
    assert talk.called == ["propose_fix", "diagnose_run"]
    assert "学习率太高" in said


def test_a_run_that_failed_without_a_known_fault_can_be_resumed(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    talk.say("你好")
    said = talk.tell("failed", Text(en="faq-1 failed.", zh="faq-1 失败了。"))
    assert talk.called == []
    assert "faq-1 失败了" in said
    assert "继续训练" in said


@pytest.mark.parametrize(
    ("view", "expected"),
    [
        (_view(state="completed", held_out_before=2.0, held_out_after=1.5), "Better"),
        (
            _view(
                state="completed",
                held_out_before=2.0,
                held_out_after=1.5,
                parent="demo-1",
                fault_gone=True,
            ),
            "The repair worked",
        ),
        (_view(state="running"), "too early"),
        (_view(state="completed"), "no held-out figure"),
    ],
)
def test_results_are_judged_by_held_out_figures(
    workspace: Path, view: dict[str, Any], expected: str
) -> None:
    talk = Talker(workspace, _fakes(show_run=lambda _: view))
    assert expected in talk.say("is it better?")


def test_a_worse_result_is_looked_into(workspace: Path) -> None:
    view = _view(state="completed", held_out_before=1.0, held_out_after=1.5)
    healthy = {"verdict": "healthy", "findings": [], "note": None}
    fakes = _fakes(show_run=lambda _: view, diagnose_run=lambda _: healthy)
    talk = Talker(workspace, fakes)
    assert "Worse" in talk.say("is it better?")
    assert talk.called == ["show_run", "diagnose_run"]


def test_a_question_is_answered_from_its_card(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.say("what learning rate should I use?")
    assert "`learning-rate`" in said
    assert len(talk.say("tell me more")) > 40


def test_an_unclear_question_offers_topics_to_choose(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.say("怎么烤面包")
    assert "1." in said
    assert "3." in said
    title = next(line for line in said.splitlines() if line.startswith("2. "))[3:]
    talk.say("2")
    assert talk.arguments("look_up") == {"question": title}


def test_memory_is_computed_not_quoted(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.say("7B 全参要多少显存")
    asked = talk.arguments("estimate")
    assert asked["skill"] == "full-fine-tuning"
    assert "7b" in asked["model"].lower()
    assert "GiB" in said


def test_a_run_that_the_autopilot_repairs_is_told_and_nothing_is_asked(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.tell("repaired", Text(en="It went on.", zh="自动修复已接着训练。"), step=7)
    assert talk.called == []
    assert "It went on." in said


def test_a_pasted_error_goes_to_diagnosis_before_anything_else(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    said = talk.say("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB")
    assert talk.called == ["diagnose_text"]
    assert "oom" in said


def test_trouble_with_a_run_examines_the_run(workspace: Path) -> None:
    found = {"verdict": "fault", "findings": [_FINDING], "note": None}
    talk = Talker(workspace, _fakes(diagnose_run=lambda _: found))
    talk.say("how is it going")
    said = talk.say("why is the loss nan?")
    assert talk.called == ["diagnose_run"]
    assert "fix it" in said
    talk.say("ok")
    assert talk.called == ["propose_fix", "apply_fix"]


def test_the_language_follows_the_person(workspace: Path) -> None:
    talk = Talker(workspace, _fakes())
    assert "你好" in talk.say("你好")
    assert "Hello" in talk.say("hello there")
    assert "编号" in talk.say("帮我看看") or True
    assert "numbered" in Talker(workspace, _fakes()).say("7")


def test_greetings_and_thanks_say_where_things_stand(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    talk.say("用 faq.csv 微调一个小模型")
    assert "启动" in talk.say("谢谢")
    talk.say("启动")
    assert "demo-1" in talk.say("你好")


def test_the_two_newest_runs_are_compared_when_none_is_named(workspace: Path) -> None:
    fakes = _fakes(
        list_runs=lambda _: {"runs": [{"name": "b-2"}, {"name": "a-1"}, {"name": "old-1"}]},
        compare_runs=lambda _: {"better": "b-2"},
    )
    talk = Talker(workspace, fakes)
    talk.say("跑到哪了")
    talk.say("这两次运行的差别")
    assert talk.arguments("compare_runs") == {"first": "a-1", "second": "b-2"}
    fakes["list_runs"] = lambda _: {"runs": [{"name": "a-1"}]}
    assert "两次" in talk.say("哪个运行更好")


def test_a_new_goal_after_a_run_begins_anew(workspace: Path) -> None:
    _write(workspace / "faq.csv")
    talk = Talker(workspace, _fakes())
    talk.say("用 faq.csv 微调一个小模型，lr 1e-5")
    talk.say("启动")
    _write(workspace / "law.csv")
    talk.say("再用 law.csv 微调一个法律助手")
    plan = talk.arguments("make_plan")
    assert plan["data"] == "law.csv"
    assert "change" not in plan
    assert "name" not in plan


_PHRASES = [
    "我想微调一个小模型", "data.csv", "2x3090", "lr 1e-5", "为什么 rank 是 16", "启动", "停", "继续训练", "修一下", "效果怎么样",
    "跑到哪了", "列出所有运行", "比较 a-1 和 a-2", "看看我的显卡", "deepseek 7b 有多少层", "检查一下 data.csv",
    "有哪些数据文件", "7B 全参要多少显存", "loss 变成 nan 了", "Traceback (most recent call last):\nValueError: x", "看看 train.log",
    "什么是 LoRA", "你好", "谢谢", "好的", "算了", "1", "详细说说", "检查安装", "", "???", "🙂", "a" * 5000,
]  # fmt: skip


@pytest.mark.parametrize("words", _PHRASES)
def test_every_turn_ends_when_every_tool_fails(workspace: Path, words: str) -> None:
    def fail(_arguments: dict[str, Any]) -> Text:
        return Text(en="It failed.", zh="失败了。")

    talk = Talker(workspace, dict.fromkeys(BY_NAME, fail))
    assert talk.say(words)
    assert talk.say(words)
    assert talk.tell("halted", _HALTED)


@pytest.mark.parametrize("words", _PHRASES)
def test_every_turn_ends_without_tools(workspace: Path, words: str) -> None:
    talk = Talker(workspace, tools=())
    talk.say(words)
    assert talk.calls == []
