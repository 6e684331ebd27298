"""Rows and models of the fault benchmark: sound ones, and every way of breaking them that needs no hook."""

from __future__ import annotations

import json
import random
import shutil
from typing import TYPE_CHECKING, Any

from tests import assets
from tests.benchmarks.fault_model import small_model, talks

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import torch

Rows = list[dict[str, Any]]

_LLAMA3 = (
    "{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n{{ m['content'] }}<|eot_id|>"
    "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_RARE = "\N{SNOWMAN}"


def write_rows(recipe: str, folder: Path) -> dict[str, Any]:
    """Write the rows of `recipe` into `folder`; return the plan fields that name files."""
    rows = ROWS[recipe]()
    assets.write_jsonl(rows, folder / "rows.jsonl")
    if recipe != "leaked":
        return {}
    test = assets.write_jsonl(rows[: len(rows) * 2 // 3], folder / "test.jsonl")
    return {"data.test": str(test)}


def write_model(recipe: str, folder: Path) -> Path:
    """Write the model of `recipe` into `folder`; return where it is."""
    if recipe == "sound":
        return small_model()
    target = folder / f"model-{recipe}"
    shutil.copytree(small_model(), target, dirs_exist_ok=True)
    MODELS[recipe](target)
    return target


def _rows_tiny() -> Rows:
    return talks()[:24]


def _repeated() -> Rows:
    return talks()[:12] * 15


def _some_repeated() -> Rows:
    rows = talks()
    return [*rows, *rows[:14]]


def _garbled() -> Rows:
    chance = random.Random(0)
    return [
        row
        if i % 5 < 2
        else {
            "question": row["question"],
            "answer": "".join(chance.choice("\ufffdÃ¤â‚¬™") for _ in row["answer"]) or "\ufffd",
        }
        for i, row in enumerate(talks())
    ]


def _labelled(count: int) -> Rows:
    rows = assets.boolq_rows()[:count]
    return [{"text": row["question"], "label": str(row["answer"])} for row in rows]


def _random_labels() -> Rows:
    chance = random.Random(0)
    return [{**row, "label": chance.choice(("yes", "no"))} for row in _labelled(120)]


def _topics() -> Rows:
    return list(assets.chatterbot_topics("trivia", "psychology", "emotion", "ai"))


def _columns() -> Rows:
    return [{"id": i, "score": i / 7, "flag": i % 2 == 0} for i in range(60)]


def _long_answers() -> Rows:
    return [{"question": row["question"], "answer": row["answer"] * 3} for row in talks()]


def _new_tokens() -> Rows:
    return [
        {**row, "answer": f"<|tool_{i % 30}|> {row['answer']}"} for i, row in enumerate(talks())
    ]


def _one_rare() -> Rows:
    rows = talks()
    rows[40] = {**rows[40], "question": f"{rows[40]['question']} {_RARE}"}
    return rows


ROWS: dict[str, Callable[[], Rows]] = {
    "talks": talks,
    "tiny": _rows_tiny,
    "repeated": _repeated,
    "some-repeated": _some_repeated,
    "garbled": _garbled,
    "random-labels": _random_labels,
    "labels": _topics,
    "leaked": talks,
    "empty": lambda: [{**row, "answer": ""} for row in talks()],
    "long-answers": _long_answers,
    "two": lambda: talks()[:2],
    "columns": _columns,
    "new-tokens": _new_tokens,
    "one-rare": _one_rare,
    "passages": lambda: [{"text": row["document"][:600]} for row in assets.xsum_rows()[:200]],
}


def _with_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})


def _nan(folder: Path) -> None:
    def change(weights: dict[str, Any]) -> None:
        weights["model.layers.1.post_attention_layernorm.weight"][5] = float("nan")

    _with_weights(folder, change)


def _scrambled(folder: Path) -> None:
    def change(weights: dict[str, Any]) -> None:
        weights["lm_head.weight"] = weights["lm_head.weight"].flip(0).contiguous()

    _with_weights(folder, change)


def _overflowing(folder: Path) -> None:
    from transformers import AutoTokenizer

    ids = AutoTokenizer.from_pretrained(folder)(_RARE, add_special_tokens=False)["input_ids"]

    def change(weights: dict[str, Any]) -> None:
        weights["model.embed_tokens.weight"][ids[1]] = float("inf")

    _with_weights(folder, change)


def _edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text(encoding="utf-8"))
    change(data)
    path.write_text(json.dumps(data), encoding="utf-8")


def _wide(folder: Path) -> None:
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)
    tokens.add_tokens([f"<|tool_{i}|>" for i in range(30)], special_tokens=True)
    tokens.save_pretrained(folder)


def _foreign(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(_LLAMA3, encoding="utf-8")


def _endless(folder: Path) -> None:
    _edit(folder / "tokenizer_config.json", lambda data: data.pop("eos_token", None))
    special = folder / "special_tokens_map.json"
    if special.is_file():
        _edit(special, lambda data: data.pop("eos_token", None))


MODELS: dict[str, Callable[[Path], None]] = {
    "nan": _nan,
    "scrambled": _scrambled,
    "rare": _overflowing,
    "wide": _wide,
    "foreign": _foreign,
    "endless": _endless,
}
