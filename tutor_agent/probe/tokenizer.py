"""What a model's folder says beside its weights: template, special tokens, licence."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, cast

import yaml

from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

_HUGE = 10**9


def read_json(path: Path) -> dict[str, Any]:
    """Return the object in a JSON file; nothing when there is none."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return cast("dict[str, Any]", data) if isinstance(data, dict) else {}


def chat_template(folder: Path) -> str | None:
    """Return the chat template; an empty text when the tokenizer has none, None without tokenizer."""
    for name in ("chat_template.jinja", "chat_template.json"):
        path = folder / name
        if path.is_file():
            words = path.read_text(encoding="utf-8", errors="replace")
            return (
                words if name.endswith("jinja") else str(read_json(path).get("chat_template", ""))
            )
    config = folder / "tokenizer_config.json"
    if not config.is_file():
        return "" if (folder / "tokenizer.json").is_file() else None
    template = read_json(config).get("chat_template")
    if isinstance(template, list):
        named = cast("list[dict[str, Any]]", template)
        return str(next((t.get("template") for t in named if t.get("name") == "default"), ""))
    return str(template or "")


def tokenizer_notes(folder: Path) -> tuple[Text, ...]:
    """Return the traps in the tokenizer's configuration."""
    path = folder / "tokenizer_config.json"
    config = read_json(path)
    notes: list[Text] = []
    pad, end = _token(config.get("pad_token")), _token(config.get("eos_token"))
    if end and pad == end:
        notes.append(
            Text(
                en=f"Padding and end of text are the same token ({end}). A collator that masks padding by "
                "its id would also mask every end, and the model would never learn to stop; the tutor "
                "masks by position.",
                zh=f"填充符与结束符是同一个 token（{end}）。若按 id 屏蔽填充符，结束符也会被屏蔽，"
                "模型将学不会停下；导师按位置屏蔽。",
            )
        )
    longest = config.get("model_max_length")
    if isinstance(longest, int | float) and longest > _HUGE:
        notes.append(
            Text(
                en="model_max_length is not set (1e30): `truncation=True` alone cuts nothing and "
                "`padding='max_length'` pads nothing. A length is always passed.",
                zh="model_max_length 没有设置（1e30）：只写 `truncation=True` 不会截断，"
                "`padding='max_length'` 也不会填充。导师总会明确给出长度。",
            )
        )
    template = chat_template(folder)
    if template == "":
        notes.append(
            Text(
                en="The tokenizer has no chat template, so this is probably a base model. For "
                "conversations its chat or instruct sister is the better start.",
                zh="分词器没有对话模板，可能是基座模型。若要对话，选用同系列的 chat 或 instruct 版本更好。",
            )
        )
    elif template and "<think>" in template:
        notes.append(
            Text(
                en="The chat template handles <think>: reasoning is part of what this model answers.",
                zh="对话模板会处理 <think>：该模型的回答包含思考过程。",
            )
        )
    return tuple(notes)


def licence_of(folder: Path) -> str | None:
    """Return the licence that the model card states."""
    try:
        words = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    head = re.match(r"---\n(.*?)\n---", words, re.DOTALL)
    if not head:
        return None
    try:
        data = yaml.safe_load(head[1])
    except yaml.YAMLError:
        return None
    if not isinstance(data, dict):
        return None
    card = cast("dict[str, Any]", data)
    licence = card.get("license_name") or card.get("license")
    return str(licence) if licence else None


def _token(value: Any) -> str:
    if isinstance(value, dict):
        return str(cast("dict[str, Any]", value).get("content", ""))
    return str(value or "")
