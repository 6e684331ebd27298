"""Which column plays which part, and what a row becomes."""

from __future__ import annotations

from typing import Any

import pytest

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.samples import Sample, detect, to_sample

CHAT = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
SHARE = [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]


def read(row: dict[str, Any], rows: list[dict[str, Any]] | None = None) -> tuple[Any, Sample]:
    found = detect(list(row), rows or [row])
    return found, to_sample(row, found.format, found.roles, found.task)


def turns(sample: Sample) -> list[tuple[str, str]]:
    return [(message.role, message.content) for message in sample.messages]


@pytest.mark.parametrize(
    ("row", "kind", "task", "expected"),
    [
        ({"question": "q", "answer": "a"}, "pairs", "qa", ["q", "a"]),
        ({"问题": "q", "回答": "a"}, "pairs", "qa", ["q", "a"]),
        ({"id": "7", "Question": "q", "Answer": "a", "source": "web"}, "pairs", "qa", ["q", "a"]),
        ({"passage": "p", "question": "q", "answer": True, "title": "t"}, "pairs", "qa", ["p\n\nq", "Yes"]),
        ({"段落": "文", "问题": "对吗", "答案": False}, "pairs", "qa", ["文\n\n对吗", "否"]),
        ({"prompt": "q", "completion": "a"}, "pairs", "completion", ["q", "a"]),
        ({"query": "q", "response": "a"}, "pairs", "chat", ["q", "a"]),
        ({"instruction": "i", "input": "x", "output": "a"}, "alpaca", "chat", ["i\n\nx", "a"]),
        ({"instruction": "i", "input": "", "output": "a"}, "alpaca", "chat", ["i", "a"]),
        ({"指令": "i", "输入": "x", "输出": "a"}, "alpaca", "chat", ["i\n\nx", "a"]),
        ({"document": "d", "summary": "s"}, "pairs", "summarization", ["d", "s"]),
        ({"正文": "d", "摘要": "s"}, "pairs", "summarization", ["d", "s"]),
        ({"article": "d", "highlights": "s", "id": "1"}, "pairs", "summarization", ["d", "s"]),
        ({"messages": CHAT}, "messages", "chat", ["q", "a"]),
        ({"conversations": SHARE}, "sharegpt", "chat", ["q", "a"]),
        ({"talk": CHAT}, "messages", "chat", ["q", "a"]),
        ({"messages": '[{"role":"user","content":"q"},{"role":"assistant","content":"a"}]'}, "messages", "chat", ["q", "a"]),
        ({"dialog": ["q", "a"]}, "messages", "chat", ["q", "a"]),
        ({"input": CHAT[:1], "ideal": "a"}, "messages", "chat", ["q", "a"]),
        ({"word": "w", "explanation": "e"}, "pairs", "chat", ["w", "e"]),
        ({"question": "q", "answer": "['a', 'b']"}, "pairs", "qa", ["q", "a"]),
        ({"question": "q", "answers": {"text": ["a"], "answer_start": [3]}}, "pairs", "qa", ["q", "a"]),
        ({"question": "q", "choices": {"label": ["A", "B"], "text": ["x", "y"]}, "answer": "A"}, "pairs", "qa", ["q\n\nA. x\nB. y", "A"]),
        ({"contract": "a long contract", "question": "q", "answer": "a"}, "pairs", "qa", ["a long contract\n\nq", "a"]),
        ({"question": "q", "answer": "a", "explanation": "long and after"}, "pairs", "qa", ["q", "a"]),
        ({"question": "q", "rationale": "r"}, "pairs", "chat", ["q", "r"]),
        ({"question": "q", "options": ["A) x", "B) y"], "answer": "A"}, "pairs", "qa", ["q\n\nA) x\nB) y", "A"]),
    ],
)  # fmt: skip
def test_rows_with_an_answer(
    row: dict[str, Any], kind: str, task: str, expected: list[str]
) -> None:
    found, sample = read(row)
    assert (found.format, found.task) == (kind, task)
    assert [content for _, content in turns(sample)] == expected
    assert [role for role, _ in turns(sample)] == ["user", "assistant"]


@pytest.mark.parametrize(
    "names", [("text", "label"), ("文本", "标签"), ("review", "sentiment"), ("内容", "类别")]
)
def test_classes(names: tuple[str, str]) -> None:
    rows = [{names[0]: f"some words {i}", names[1]: str(i % 3)} for i in range(30)]
    found, sample = read(rows[4], rows)
    assert (found.format, found.task) == ("labelled", "classification")
    assert (sample.label, sample.answer) == ("1", "1")


def test_a_labelled_question_keeps_its_passage() -> None:
    rows = [{"question": f"q{i}", "passage": "p", "idx": i, "label": i % 2} for i in range(20)]
    found, sample = read(rows[1], rows)
    assert found.roles == {"text": "question", "label": "label", "context": "passage"}
    assert turns(sample) == [("user", "p\n\nq1"), ("assistant", "1")]


@pytest.mark.parametrize(
    "row", [{"question": "q"}, {"passage": "p", "question": "q"}, {"问题": "q", "选项": "A. x"}]
)
def test_questions_without_answers(row: dict[str, str]) -> None:
    with pytest.raises(UnreadableError, match="no column answers"):
        detect(list(row), [row])


def test_classes_without_known_names() -> None:
    rows = [{"sms": f"buy {i} now", "v1": ["ham", "spam"][i % 2]} for i in range(40)]
    found, sample = read(rows[0], rows)
    assert found.roles == {"text": "sms", "label": "v1"}
    assert sample.label == "ham"


@pytest.mark.parametrize(
    "row",
    [{"text": "t"}, {"内容": "t"}, {"text": "t", "url": "u", "timestamp": "2020"}, {"col": "t"}],
)
def test_a_single_text_is_pretraining(row: dict[str, str]) -> None:
    found, sample = read(row)
    assert (found.format, found.task) == ("text", "pretraining")
    assert (sample.text, sample.messages) == ("t", ())


def test_system_and_history() -> None:
    row = {"instruction": "i", "output": "a", "system": "s", "history": [["q1", "a1"]]}
    _, sample = read(row)
    expected = [
        ("system", "s"),
        ("user", "q1"),
        ("assistant", "a1"),
        ("user", "i"),
        ("assistant", "a"),
    ]
    assert turns(sample) == expected
    _, sample = read({"messages": CHAT, "system": "s"})
    assert turns(sample)[0] == ("system", "s")


def test_speakers_parts_and_trailing_turns() -> None:
    row = {
        "messages": [
            {"role": "developer", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "q"}]},
            {"role": "tool", "content": "42"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "thanks"},
        ]
    }
    _, sample = read(row)
    assert turns(sample) == [("system", "s"), ("user", "q"), ("tool", "42"), ("assistant", "a")]


@pytest.mark.parametrize(
    ("row", "kind", "roles", "message"),
    [
        ({"q": "x", "a": ""}, "pairs", {"prompt": "q", "completion": "a"}, "no answer"),
        ({"q": "", "a": "x"}, "pairs", {"prompt": "q", "completion": "a"}, "no question"),
        ({"t": None}, "text", {"text": "t"}, "no text"),
        ({"t": "x", "l": None}, "labelled", {"text": "t", "label": "l"}, "no label"),
        ({"m": CHAT[:1]}, "messages", {"messages": "m"}, "no answer"),
        ({"m": "hello"}, "messages", {"messages": "m"}, "not a list"),
        ({"m": [{"role": "robot", "content": "x"}]}, "messages", {"messages": "m"}, "robot"),
    ],
)
def test_rows_that_teach_nothing(
    row: dict[str, Any], kind: Any, roles: dict[str, str], message: str
) -> None:
    with pytest.raises(UnreadableError, match=message):
        to_sample(row, kind, roles, "chat")


def test_auto_looks_at_the_row() -> None:
    assert to_sample({"question": "q", "answer": "a"}, "auto", {}, "qa").answer == "a"


def test_columns_of_the_plan_win() -> None:
    row = {"question": "q", "answer": "a", "rewritten": "r"}
    sample = to_sample(row, "auto", {"prompt": "rewritten"}, "qa")
    assert turns(sample)[0] == ("user", "r")


def test_nothing_to_recognise() -> None:
    with pytest.raises(UnreadableError, match=r"data\.columns"):
        detect(["n", "m"], [{"n": 1, "m": 2}])


def test_a_free_label_column_is_no_class() -> None:
    rows = [
        {"text": f"t{i}", "target": f"a long and different answer number {i} for that text"}
        for i in range(300)
    ]
    found, _ = read(rows[0], rows)
    assert found.task != "classification"
    assert found.roles == {"prompt": "text", "completion": "target"}
