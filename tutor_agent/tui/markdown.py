"""Markdown as styled text: one widget a block group instead of one a paragraph, which keeps streaming cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.tree import SyntaxTreeNode
from rich.cells import cell_len
from textual.content import Content
from textual.highlight import highlight

from tutor_agent.tui.paint import line, lines, wrap

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
_INLINE = {"strong": "bold", "em": "italic", "s": "strike", "link": "$primary underline"}
_MIN_COLUMN = 4


def paint_markdown(source: str, width: int) -> Content:
    """Lay `source` out for `width` cells."""
    return lines(*_blocks(SyntaxTreeNode(_PARSER.parse(source)).children, width))


def frozen_prefix(source: str) -> int:
    """Return how many characters form finished blocks: all but the last top-level one."""
    starts = [t.map[0] for t in _PARSER.parse(source) if t.level == 0 and t.map and t.nesting >= 0]
    if len(starts) < 2:
        return 0
    kept = source.splitlines(keepends=True)[: starts[-1]]
    return sum(map(len, kept))


def _blocks(nodes: Sequence[SyntaxTreeNode], width: int, *, tight: bool = False) -> list[Content]:
    out: list[Content] = []
    for node in nodes:
        drawn = _block(node, max(8, width))
        if out and drawn and not tight:
            out.append(Content(""))
        out += drawn
    return out


def _block(node: SyntaxTreeNode, width: int) -> list[Content]:
    match node.type:
        case "heading":
            style = "bold $primary" if node.tag in {"h1", "h2"} else "bold"
            return [part.stylize(style) for part in wrap(_inline(node), width)]
        case "bullet_list" | "ordered_list":
            return _list(node, width)
        case "fence" | "code_block":
            return _code(node, width)
        case "blockquote":
            inner = _blocks(node.children, width - 2)
            return [line(("▎ ", "$faint"), part.stylize_before("$detail")) for part in inner]
        case "table":
            return _table(node, width)
        case "hr":
            return [Content.styled("─" * width, "$line")]
        case "html_block":
            return wrap(Content(node.content.rstrip()), width)
        case _:
            return wrap(_inline(node), width)


def _list(node: SyntaxTreeNode, width: int) -> list[Content]:
    first = int(node.attrs.get("start", 1)) if node.type == "ordered_list" else 0
    out: list[Content] = []
    for number, item in enumerate(node.children):
        marker = f"{first + number}. " if node.type == "ordered_list" else "• "
        indent = cell_len(marker)
        for position, part in enumerate(_blocks(item.children, width - indent, tight=True)):
            out.append(line((marker, "$primary") if position == 0 else " " * indent, part))
    return out


def _code(node: SyntaxTreeNode, width: int) -> list[Content]:
    language = node.info.split()[0] if node.type == "fence" and node.info else None
    code = highlight(node.content.rstrip("\n"), language=language or "text")
    out: list[Content] = []
    for part in code.split(allow_blank=True):
        for piece in part.expand_tabs(4).fold(max(1, width - 2)) or [Content("")]:
            gap = max(0, width - 2 - piece.cell_length)
            out.append(line(" ", piece, " " * (gap + 1)).stylize_before("on $panel"))
    return out


def _table(node: SyntaxTreeNode, width: int) -> list[Content]:
    rows = [
        [_inline(cell) for cell in row.children] for part in node.children for row in part.children
    ]
    columns = max(map(len, rows))
    rows = [row + [Content("")] * (columns - len(row)) for row in rows]
    widths = _column_widths(rows, width - 3 * (columns - 1))
    out: list[Content] = []
    for number, row in enumerate(rows):
        style = "bold $label" if number == 0 else ""
        out += _table_row([cell.stylize(style) for cell in row], widths)
        if number == 0:
            out.append(Content.styled("─┼─".join("─" * w for w in widths), "$line"))
    return out


def _column_widths(rows: list[list[Content]], room: int) -> list[int]:
    """Give each column what it wants; the widest give way first."""
    wanted = [max(1, *(row[i].cell_length for row in rows)) for i in range(len(rows[0]))]
    while sum(wanted) > room and max(wanted) > _MIN_COLUMN:
        wanted[wanted.index(max(wanted))] -= 1
    return wanted


def _table_row(cells: list[Content], widths: list[int]) -> list[Content]:
    wrapped = [wrap(cell, w) for cell, w in zip(cells, widths, strict=True)]
    out: list[Content] = []
    for y in range(max(map(len, wrapped))):
        parts = [
            column[y].pad_right(max(0, w - column[y].cell_length))
            if y < len(column)
            else Content(" " * w)
            for column, w in zip(wrapped, widths, strict=True)
        ]
        out.append(Content.styled(" │ ", "$line").join(parts))
    return out


def _inline(node: SyntaxTreeNode) -> Content:
    if node.type in {"text", "code_inline", "html_inline"}:
        style = "$primary" if node.type == "code_inline" else ""
        return Content.styled(node.content, style)
    if node.type == "hardbreak":
        return Content("\n")
    if node.type == "image":
        return Content.styled(f"[{node.content}]", "$detail")
    return _joined(node.children).stylize(_INLINE.get(node.type, ""))


def _joined(nodes: Iterable[SyntaxTreeNode]) -> Content:
    """Join inline nodes; a line break between two wide characters is no space in Chinese."""
    out = Content("")
    pending = False
    for node in nodes:
        if node.type == "softbreak":
            pending = True
            continue
        part = _inline(node)
        if pending:
            wide = cell_len(out.plain[-1:]) == 2 and cell_len(part.plain[:1]) == 2
            out = out if wide else out.append(" ")
            pending = False
        out = out.append(part)
    return out
