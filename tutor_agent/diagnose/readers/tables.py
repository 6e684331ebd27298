"""Tables of metrics: CSV, tabs, and the bars of notebooks and Markdown."""

from __future__ import annotations

import re

from tutor_agent.diagnose.readers.names import canonical

_SPLIT = re.compile(r"\s*[,\t|]\s*")
_NUMBER = re.compile(
    r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:nan|inf)", re.IGNORECASE
)
_RULE = re.compile(r"[\s|:+-]+")
_TELLING = {"loss", "eval_loss", "grad_norm", "learning_rate"}
_LONGEST = 2000


class TableReader:
    """Finds a header that names metrics and reads the rows below it."""

    def __init__(self) -> None:
        self._columns: list[str | None] = []

    def feed(self, line: str) -> dict[str, float] | None:
        """Take one line; return the metrics of a row, None when it is no row of a table."""
        if len(line) > _LONGEST or not any(mark in line for mark in ",\t|"):
            self._columns = []
            return None
        cells = _SPLIT.split(line.strip().strip("|").strip())
        if self._columns and len(cells) == len(self._columns):
            row = {
                name: float(cell)
                for name, cell in zip(self._columns, cells, strict=True)
                if name is not None and _NUMBER.fullmatch(cell)
            }
            if row:
                return row
        if not (self._columns and _RULE.fullmatch(line)):
            self._columns = _header(cells)
        return None


def _header(cells: list[str]) -> list[str | None]:
    """Return our names of the columns; empty when `cells` are not the header of a table of metrics."""
    if len(cells) < 2 or any(cell[:1].isdigit() or len(cell.split()) > 3 for cell in cells):
        return []
    names = [canonical(cell) for cell in cells]
    return names if _TELLING & set(names) else []
