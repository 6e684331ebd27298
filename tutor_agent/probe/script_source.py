"""The text of a script or a notebook, parsed and never executed."""

from __future__ import annotations

import ast
import json
import re
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.core.encodings import detect_encoding
from tutor_agent.core.errors import UnreadableError
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from pathlib import Path

_LARGEST_BYTES = 4 * 2**20
_MAGIC = re.compile(r"^(\s*)(?:[!%]|\?\w|\w+\?+\s*$|(?:cd|ls|pip|conda)\s+[\w./-]+\s*$)")
_PYTHON2 = re.compile(
    r"^\s*print\s+[\"'\w(]|^\s*except\s+[\w.]+\s*,\s*\w+\s*:|^\s*exec\s+[\"']|^\s*raise\s+\w+\s*,\s*[\"']"
)


@dataclass(frozen=True)
class Source:
    """A parsed script, and how its lines are named."""

    tree: ast.Module
    lines: tuple[str, ...]
    cells: tuple[tuple[int, int], ...] = ()
    """For a notebook: cell number and line inside the cell, by line of the joined code."""

    def code(self, line: int) -> str:
        """Return a line of the code, without indentation."""
        return self.lines[line - 1].strip() if 0 < line <= len(self.lines) else ""

    def mentions(self, *names: str) -> bool:
        """Return whether the code uses one of these names."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Name) and node.id in names:
                return True
            if isinstance(node, ast.FunctionDef) and node.name in names:
                return True
        return False

    def where(self, line: int) -> Text:
        """Name a line for people."""
        if not self.cells:
            return Text(en=f"line {line}", zh=f"第 {line} 行")
        cell, inner = self.cells[line - 1] if 0 < line <= len(self.cells) else (0, line)
        return Text(en=f"cell {cell}, line {inner}", zh=f"第 {cell} 个单元格第 {inner} 行")


def parse_source(path: Path) -> Source:
    """Read and parse a script (`.py`) or a notebook (`.ipynb`).

    Raises:
        UnreadableError: It is too large, not text, not Python 3, or not a notebook.
    """
    if path.stat().st_size > _LARGEST_BYTES:
        raise UnreadableError(
            f"{path} has {path.stat().st_size} bytes; a script has at most {_LARGEST_BYTES}. Give the training script itself.",
            f"{path} 有 {path.stat().st_size} 字节，脚本最多 {_LARGEST_BYTES} 字节。请给出训练脚本本身。",
        )
    words = _text(path)
    if path.suffix.lower() != ".ipynb":
        lines = words.splitlines()
        return Source(_parse(words, lines, path, ()), tuple(lines))
    lines, cells = _cells(words, path)
    return Source(_parse("\n".join(lines) + "\n", lines, path, cells), tuple(lines), cells)


def _text(path: Path) -> str:
    try:
        words = path.read_text(encoding=detect_encoding(path))
    except UnicodeDecodeError as error:
        raise UnreadableError(
            f"{path} is not text: {error}. Give a Python script or a notebook.",
            f"{path} 不是文本文件：{error}。请给出 Python 脚本或 notebook。",
        ) from None
    return words.replace("\r\n", "\n").replace("\r", "\n").replace("\f", " ")


def _parse(
    words: str, lines: list[str], path: Path, cells: tuple[tuple[int, int], ...]
) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            return ast.parse(words, filename=path.name)
    except SyntaxError as error:
        raise _syntax(error, lines, path, cells) from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UnreadableError(
            f"{path} cannot be parsed as Python: {error}. Check the file.",
            f"{path} 无法按 Python 解析：{error}。请检查该文件。",
        ) from None


def _syntax(
    error: SyntaxError, lines: list[str], path: Path, cells: tuple[tuple[int, int], ...]
) -> UnreadableError:
    line = error.lineno or 1
    where = Source(ast.Module([], []), tuple(lines), cells).where(line)
    code = lines[line - 1].strip() if 0 < line <= len(lines) else ""
    if any(_PYTHON2.match(each) for each in lines):
        return UnreadableError(
            f"{path}, {where.en}: {code!r} is Python 2, which no current library supports. Convert it first: print(…), "
            "`except X as e:`.",
            f"{path} {where.zh}：{code!r} 是 Python 2 写法，现在的库都不支持。请先转换：print(…)、`except X as e:`。",
        )
    return UnreadableError(
        f"{path}, {where.en}: not valid Python: {error.msg}: {code!r}. Mend that line.",
        f"{path} {where.zh}：不是合法的 Python（{error.msg}）：{code!r}。请修正该行。",
    )


def _cells(words: str, path: Path) -> tuple[list[str], tuple[tuple[int, int], ...]]:
    """Return the lines of all code cells, shell and magic lines blanked, and where each stands."""
    lines: list[str] = []
    places: list[tuple[int, int]] = []
    for number, text in enumerate(_code_cells(words, path), start=1):
        if text.lstrip().startswith("%%") and not text.lstrip().startswith(("%%time", "%%capture")):
            continue
        for inner, line in enumerate(text.splitlines(), start=1):
            lines.append(_MAGIC.sub(r"\1pass  # ", line, count=1) if _MAGIC.match(line) else line)
            places.append((number, inner))
    return lines, tuple(places)


def _code_cells(words: str, path: Path) -> list[str]:
    try:
        data: Any = json.loads(words)
        sheets: Any = data.get("worksheets")
        cells: Any = sheets[0]["cells"] if sheets else data["cells"]
        return [_joined(cell) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise UnreadableError(
            f"{path} is not a Jupyter notebook: no list of cells in it. Save it again, or export it as .py.",
            f"{path} 不是 Jupyter notebook：其中没有单元格列表。请重新保存，或导出为 .py。",
        ) from None


def _joined(cell: dict[str, Any]) -> str:
    source: Any = cell.get("source", cell.get("input", ""))
    return source if isinstance(source, str) else "".join(cast("list[str]", source))
