"""A data file's facts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tutor_agent.core.errors import NotFoundError, UnreadableError
from tutor_agent.core.rows import Row, open_rows
from tutor_agent.core.samples import to_sample
from tutor_agent.probe.data import ESTIMATE, inspect_data
from tutor_agent.probe.tally import estimate_tokens

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts


@pytest.fixture
def inspect(tmp_path: Path) -> Any:
    def write_and_inspect(
        content: str, name: str = "data.csv", encoding: str = "utf-8"
    ) -> DataFacts:
        path = tmp_path / name
        path.write_bytes(content.encode(encoding))
        return inspect_data(path)

    return write_and_inspect


def whole(facts: DataFacts) -> str:
    return " ".join(problem.text.en for problem in facts.problems if problem.line is None)


def test_questions_in_chinese(inspect: Any) -> None:
    lines = [f'{i},"第 {i} 个问题是什么？","答案是{i}，很简单。"' for i in range(60)]
    facts = inspect("编号,问题,回答\n" + "\n".join([*lines, lines[0]]) + "\n", encoding="gb18030")
    assert (facts.container, facts.encoding, facts.language) == ("csv", "gb18030", "zh")
    assert (facts.format, facts.task) == ("pairs", "qa")
    assert facts.roles == {"prompt": "问题", "completion": "回答"}
    assert (facts.rows, facts.duplicates) == (61, 1)
    number, question, _ = facts.columns
    assert (number.kind, question.kind, question.distinct, question.empty) == (
        "number",
        "text",
        60,
        0,
    )
    assert facts.samples[0]["问题"] == "第 0 个问题是什么？"
    assert facts.sha256 == hashlib.sha256(Path(facts.path).read_bytes()).hexdigest()
    assert "repeat an earlier row" in whole(facts)


def test_broken_and_empty_rows_by_line(inspect: Any) -> None:
    facts = inspect('question,answer\nq,a\nq2,\na,b,c\nx,"open\nlast,row\n')
    assert [problem.line for problem in facts.problems if problem.line] == [3, 4, 5]
    assert facts.rows == 2
    assert all(
        problem.text.zh.endswith("该行将被略过。") for problem in facts.problems if problem.line
    )
    assert facts.columns[1].empty == 1


def test_many_broken_rows_are_counted(inspect: Any) -> None:
    facts = inspect("question,answer\nq,a\n" + "a,b,c\n" * 50)
    assert sum(1 for problem in facts.problems if problem.line) == 20
    assert "50 rows are left out in all" in whole(facts)


@pytest.mark.parametrize("content", ["question,answer\nq,\nr,\n", "text,label\nq,\nr,\n"])
def test_nothing_usable_is_fatal(inspect: Any, content: str) -> None:
    facts = inspect(content)
    assert facts.rows == 0
    assert any(problem.fatal for problem in facts.problems)
    assert facts.lengths.total == 0


def test_classes(inspect: Any) -> None:
    rows = [f"text {i},pos" for i in range(100)] + ["text 3,neg", "other,neg"]
    facts = inspect("text,label\n" + "\n".join(rows))
    assert facts.task == "classification"
    assert "uneven" in whole(facts)
    assert "another label" in whole(facts)
    facts = inspect("text,label\n" + "\n".join(rows[:100]))
    assert any(
        problem.fatal and "nothing to tell apart" in problem.text.en for problem in facts.problems
    )


def test_other_trouble(inspect: Any) -> None:
    assert "learn them by heart" in whole(inspect("question,answer\nq,a\n"))
    assert "decoded wrongly" in whole(inspect("question,answer\nq\ufffd,a\n"))
    assert "no header" in whole(inspect("今天天气很好，出去玩。\t好的\n下雨了，真烦。\t是啊\n"))


def test_conversations(inspect: Any) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "hi " * 400},
            {"role": "assistant", "content": "yo"},
        ]
    }
    facts = inspect("\n".join([json.dumps(row)] * 3), "d.jsonl")
    assert (facts.container, facts.format, facts.task) == ("jsonl", "messages", "chat")
    assert facts.columns[0].kind == "list"
    assert facts.lengths.p50 == pytest.approx(1202 / 4 + 10, abs=1)
    assert len(str(facts.samples[0])) < 600


def test_lengths(inspect: Any) -> None:
    facts = inspect("text\n" + "\n".join("word " * n for n in range(1, 101)))
    assert facts.lengths.p50 == pytest.approx(51 * 5 / 4, rel=0.05)
    assert facts.lengths.p95 == pytest.approx(96 * 5 / 4, rel=0.05)
    assert facts.lengths.longest >= facts.lengths.p95
    assert not facts.lengths.exact


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        # Counted with DeepSeek's own tokenizer.
        ("The quick brown fox jumps over the lazy dog near the river bank every morning.", 16),
        ("微调大语言模型之前，先看清数据的格式、长度和重复情况，再决定怎么训练。", 22),
    ],
)
def test_the_estimate_is_sensible(words: str, tokens: int) -> None:
    assert estimate_tokens(words) == pytest.approx(tokens, rel=0.3)
    assert "0.75" in ESTIMATE.en


def test_the_probe_and_the_trainer_agree_on_a_row(inspect: Any) -> None:
    facts = inspect("word,definition\n鸟,一种动物\n")
    (row,) = (row for row in open_rows(Path(facts.path)) if isinstance(row, Row))
    assert to_sample(row.values, facts.format, facts.roles, facts.task).answer == "一种动物"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("question,answer\n", "no rows below"),
        ("question,answer\na,b,c\n", "line 2"),
        ("n,m\n1,2\n", "data.columns"),
    ],
)
def test_files_that_cannot_be_used(inspect: Any, content: str, words: str) -> None:
    with pytest.raises(UnreadableError, match=words):
        inspect(content)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        inspect_data(tmp_path / "none.csv")
