from __future__ import annotations

import math

import pytest
from rich.cells import cell_len
from textual.content import Content

from tutor_agent.tui import figures
from tutor_agent.tui.markdown import frozen_prefix, paint_markdown
from tutor_agent.tui.paint import bar, hanging, sparkline, spread, wrap


@pytest.mark.parametrize("width", [8, 13, 40])
@pytest.mark.parametrize(
    "words",
    [
        "7B 全参训练连同 Adam 约需 112 GB，一张卡放不下；你有 5 千条数据，先用 LoRA 最稳。",
        "A long English sentence, with commas; and a wooooooooooooooooooooooooooooooord.",
        "（括号）与“引号”，不在行首行尾。",
        "",
    ],
)
def test_wrapped_lines_fit_and_lose_nothing(words: str, width: int) -> None:
    parts = [part.plain for part in wrap(Content(words), width)]
    assert all(cell_len(part) <= width for part in parts)
    assert "".join(parts).replace(" ", "") == words.replace(" ", "")


def test_no_line_begins_with_closing_punctuation() -> None:
    words = "我们先看一看，再想一想。最后，做一个决定；好吗？"
    for width in range(10, 30):
        for part in wrap(Content(words), width)[1:]:
            assert part.plain[0] not in "，。；？"


def test_labels_of_two_widths_align() -> None:
    rows = [("方法", Content("LoRA")), ("learning", Content("2e-4 " * 12))]
    for row in hanging(rows, 40).plain.splitlines():
        assert cell_len(row) <= 40
    first, second, third = hanging(rows, 40).plain.splitlines()[:3]
    assert first.index("LoRA") + 2 == second.index("2e-4")
    assert third.startswith(" " * 10 + "2e-4")


def test_bar_never_overflows() -> None:
    for share in (-1.0, 0.0, 0.4, 1.0, 7.0):
        assert bar(share, 20).cell_length == 20


def test_spread_gives_way() -> None:
    assert spread(Content("left"), Content("right"), 20).cell_length == 20
    assert spread(Content("left" * 5), Content("right"), 12).cell_length <= 12


def test_sparkline_ignores_what_is_no_number() -> None:
    assert sparkline([3, 2, math.nan, 1], 3) == "█▅▁"
    assert sparkline([math.nan], 3) == ""


@pytest.mark.parametrize(
    ("value", "shown"),
    [(2e-4, "2e-4"), (1.83e-4, "1.8e-4"), (0.0, "0"), (1e-5, "1e-5"), (9.96e-5, "1e-4")],
)
def test_learning_rates(value: float, shown: str) -> None:
    assert figures.tiny(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (math.nan, "NaN"), (math.inf, "inf"), (1.123, "1.12"), (0.97612, "0.976")],
)
def test_losses(value: float | None, shown: str) -> None:
    assert figures.loss(value) == shown


def test_times() -> None:
    assert figures.clock(860) == "14:20"
    assert figures.clock(11_100) == "3:05:00"
    assert figures.duration(1332, "zh") == "22 分钟"
    assert figures.duration(5400, "en") == "1.5 h"
    assert figures.count(7_615_616_512) == "7.6B"
    assert figures.count(950) == "950"


MARKDOWN = """# Title

Some **bold** and `code`, a [link](https://example.org) and *more*
on a second line.

- one
- two
  1. inner with a rather long text that has to wrap somewhere
- 三：中文
换行

```python
def f(x):
    return x  # a comment
```

> quoted

| 方法 | memory |
|---|--:|
| LoRA | 31 GB |
| full fine-tuning with a long name | 112 GB |

---
last
"""


@pytest.mark.parametrize("width", [12, 30, 64, 100])
def test_markdown_fits_and_keeps_its_words(width: int) -> None:
    drawn = paint_markdown(MARKDOWN, width).plain
    assert all(cell_len(row) <= max(width, 24) for row in drawn.splitlines())
    flat = drawn.replace("\n", "").replace(" ", "")
    for words in ("Title", "bold", "code", "inner", "中文换行", "quoted", "LoRA", "112", "last"):
        assert words in flat
    assert "**" not in drawn
    assert "`" not in drawn


def test_frozen_prefix_ends_between_blocks() -> None:
    cut = frozen_prefix(MARKDOWN)
    assert MARKDOWN[cut:].strip() == "last"
    assert frozen_prefix("only one paragraph") == 0
    assert frozen_prefix("a\n\n```\nopen fence\n\nstill open") == len("a\n\n")


def test_markup_in_data_is_text() -> None:
    assert "[/bold]" in paint_markdown("a [/bold] and [red]b", 60).plain


def test_a_dot_between_items_gives_way_to_the_break() -> None:
    parts = [part.plain for part in wrap(Content("precision fp16 → bf16 · rate 2e-4 → 1e-4"), 30)]
    assert parts == ["precision fp16 → bf16", "rate 2e-4 → 1e-4"]
