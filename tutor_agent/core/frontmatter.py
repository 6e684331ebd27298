"""Markdown files with a YAML head and a body in two languages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import yaml

from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

_LOADER: type[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_LANGUAGE = re.compile(r"^# (en|zh)[ \t]*\n", re.MULTILINE)


def split_frontmatter(path: Path) -> tuple[dict[str, Any], str]:
    """Return the YAML head and the body of the file at `path`.

    Raises:
        UnreadableError: There is no head, or it is not a mapping.
    """
    source = path.read_text(encoding="utf-8")
    parts = source.split("---\n", 2)
    if len(parts) != 3 or parts[0].strip():
        raise UnreadableError(
            f"{path}: a head between two `---` lines is missing. Add it at the top of the file.",
            f"{path}：缺少两行 `---` 之间的头部，请加在文件开头。",
        )
    try:
        head: Any = yaml.load(parts[1], Loader=_LOADER)
    except yaml.YAMLError as error:
        raise UnreadableError(
            f"{path}: the head is not YAML: {error}", f"{path}：头部不是有效的 YAML：{error}"
        ) from None
    if not isinstance(head, dict):
        raise UnreadableError(
            f"{path}: the head must be a mapping of keys.", f"{path}：头部必须是键值映射。"
        )
    return head, parts[2]  # pyright: ignore[reportUnknownVariableType]


def split_languages(body: str, path: Path) -> Text:
    """Split a body at its `# en` and `# zh` lines.

    Raises:
        UnreadableError: One of the two languages is missing.
    """
    pieces = _LANGUAGE.split(body)
    found = {pieces[i]: pieces[i + 1].strip() for i in range(1, len(pieces) - 1, 2)}
    if set(found) != {"en", "zh"}:
        raise UnreadableError(
            f"{path}: the body needs one `# en` and one `# zh` part; found {sorted(found)}.",
            f"{path}：正文需要 `# en` 和 `# zh` 两部分；现有 {sorted(found)}。",
        )
    return Text(en=found["en"], zh=found["zh"])
