"""Markdown with a head and two languages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.frontmatter import split_frontmatter, split_languages

if TYPE_CHECKING:
    from pathlib import Path

BODY = "# en\nHello.\n\n## More\n---\nx\n# zh\n你好。\n"


def test_head_and_body(tmp_path: Path) -> None:
    path = tmp_path / "card.md"
    path.write_text(f"---\nid: x\n---\n{BODY}", encoding="utf-8")
    head, body = split_frontmatter(path)
    assert head == {"id": "x"}
    text = split_languages(body, path)
    assert text.en == "Hello.\n\n## More\n---\nx"
    assert text.zh == "你好。"


@pytest.mark.parametrize(
    "content", ["# en\n", "---\nid: x\n", "---\nid: [\n---\n", "---\n- x\n---\n"]
)
def test_bad_heads(tmp_path: Path, content: str) -> None:
    path = tmp_path / "card.md"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UnreadableError, match=r"card\.md"):
        split_frontmatter(path)


@pytest.mark.parametrize("body", ["", "# en\nx\n", "# zh\nx\n"])
def test_both_languages_are_needed(tmp_path: Path, body: str) -> None:
    with pytest.raises(UnreadableError, match="# zh"):
        split_languages(body, tmp_path)
