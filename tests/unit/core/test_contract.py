"""Contracts refuse what they do not know, and say it in both languages."""

from __future__ import annotations

import pytest

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import (
    CheckpointError,
    FailedError,
    InvalidPlanError,
    NotFoundError,
    TutorError,
    UserError,
)
from tutor_agent.core.text import Text, detect_language


class Inner(Contract):
    """A part."""

    width: int = 1
    """How wide."""


class Outer(Contract):
    """A whole."""

    name: str
    """What it is called."""
    inner: Inner = Inner()
    """Its part."""


def test_good_values_and_help_texts() -> None:
    assert Outer.parse({"name": "x", "inner": {"width": 2}}, "here").inner.width == 2
    assert Outer.model_fields["name"].description == "What it is called."


@pytest.mark.parametrize(
    ("data", "english", "chinese"),
    [
        ({"nam": "x"}, "did you mean 'name'?", "是否想写 'name'"),
        ({"name": "x", "inner": {"witdh": 1}}, "'inner.witdh'; did you mean 'width'?", "width"),
        ({"name": "x", "zzz": 1}, "known keys: name, inner", "可用的键"),
        ({}, "key 'name' is missing", "缺少键 'name'"),
        ({"name": "x", "inner": {"width": "wide"}}, "inner.width = 'wide'", "不合要求"),
    ],
)
def test_errors_name_the_key_and_the_place(data: object, english: str, chinese: str) -> None:
    with pytest.raises(InvalidPlanError) as caught:
        Outer.parse(data, "file.yaml")
    assert caught.value.text.en.startswith("file.yaml: ")
    assert english in caught.value.text.en
    assert chinese in caught.value.text.zh


def test_contracts_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Outer(name="x").name = "y"


def test_exit_codes() -> None:
    assert issubclass(NotFoundError, UserError)
    assert issubclass(CheckpointError, FailedError)
    assert (UserError.exit_code, FailedError.exit_code) == (2, 1)
    assert str(TutorError("english", "中文")) == "english"


def test_text() -> None:
    text = Text(en="{n} rows", zh="{n} 行").format(n=3)
    assert (text.pick("en"), text.pick("zh")) == ("3 rows", "3 行")
    assert Text.same("x") == Text(en="x", zh="x")


@pytest.mark.parametrize(
    ("words", "language"), [("hello", "en"), ("微调 LoRA", "zh"), ("", "en"), ("，。", "en")]
)
def test_language(words: str, language: str) -> None:
    assert detect_language(words) == language
