"""Small brushes: every drawing is a pure function from values and a width to styled text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.cells import cell_len
from textual.content import Content
from textual.visual import Visual

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from textual.css.styles import RulesMap
    from textual.strip import Strip
    from textual.style import Style
    from textual.visual import RenderOptions

Part = str | Content | tuple[str, str]
Row = tuple[str, Content]

_DOT = " · "
_CLOSING = frozenset("，。、；：？！）】》」』”’％%,.;:?!)]}…")
_OPENING = frozenset("（【《「『“‘([{")
SPARKS = "▁▂▃▄▅▆▇█"


class Flow(Visual):
    """Styled text that is laid out anew for each width."""

    def __init__(self, build: Callable[[int], Content]) -> None:
        self._build = build
        self._built: tuple[int, Content] | None = None

    def at(self, width: int) -> Content:
        """Return the text laid out for `width` cells."""
        if self._built is None or self._built[0] != width:
            self._built = (width, self._build(max(1, width)))
        return self._built[1]

    def render_strips(
        self, width: int, height: int | None, style: Style, options: RenderOptions
    ) -> list[Strip]:
        """Draw at `width`."""
        return self.at(width).render_strips(width, height, style, options)

    def get_optimal_width(self, rules: RulesMap, container_width: int) -> int:
        """Take all the width there is."""
        return container_width

    def get_height(self, rules: RulesMap, width: int) -> int:
        """Return the lines that the text takes at `width`."""
        return self.at(width).get_height(rules, width)


def line(*parts: Part) -> Content:
    """Join plain text, `(text, style)` pairs and contents."""
    return Content.assemble(*parts)


def lines(*rows: Content) -> Content:
    """Stack contents."""
    return Content("\n").join(rows)


def bar(share: float, width: int, on: str = "$healthy") -> Content:
    """Draw a thin bar that is filled to `share`."""
    full = round(min(1.0, max(0.0, share)) * width)
    return line(("━" * full, on), ("━" * (width - full), "$line"))


def spread(left: Content, right: Content, width: int) -> Content:
    """Put `left` and `right` at the two ends; `right` gives way when there is no room."""
    gap = width - left.cell_length - right.cell_length
    if gap < 1:
        return left.truncate(width, ellipsis=True)
    return line(left, " " * gap, right)


def pad(words: str, width: int) -> str:
    """Fill `words` with blanks to `width` cells."""
    return words + " " * (width - cell_len(words))


def wrap(words: Content, width: int) -> list[Content]:
    """Break `words` into lines of `width` cells.

    No line begins with closing punctuation; a middle dot between two items gives way to the break.
    """
    out: list[Content] = []
    for paragraph in words.split(allow_blank=True):
        rest = paragraph
        while rest.cell_length > width:
            at = _break_point(rest.plain, width)
            out.append(rest[:at].rstrip())
            dropped = _DOT if rest.plain.startswith(_DOT, at) else ""
            after = rest.plain[at + len(dropped) :]
            rest = rest[len(rest.plain) - len(after.lstrip(" ")) :]
        out.append(rest)
    return out or [Content("")]


def hanging(
    rows: Iterable[Row], width: int, *, indent: int = 0, column: int | None = None
) -> Content:
    """Lay out label and value pairs; a value that wraps stays in its own column."""
    pairs = list(rows)
    if column is None:
        longest = max((cell_len(label) for label, _ in pairs), default=0)
        column = longest + 2 if longest else 0
    room = max(8, width - column - indent)
    out: list[Content] = []
    for label, value in pairs:
        for number, piece in enumerate(wrap(value, room)):
            head = pad(label if number == 0 else "", column)
            out.append(line(" " * indent, (head, "$label"), piece.rstrip()))
    return lines(*out)


def marked(mark: tuple[str, str], words: Content, width: int) -> Content:
    """Lay out `words` behind a sign; what wraps stays behind it."""
    column = cell_len(mark[0]) + 1
    first, *rest = wrap(words, max(8, width - column))
    return lines(line(mark, " ", first), *(line(" " * column, part) for part in rest))


def dotted(parts: Iterable[str | Content | tuple[str, str]]) -> Content:
    """Join what is not empty by a middle dot."""
    kept = [
        Content.assemble(part) if not isinstance(part, Content) else part
        for part in parts
        if (part if isinstance(part, str) else (part[0] if isinstance(part, tuple) else part.plain))
    ]
    return Content.styled(_DOT, "$detail").join(kept)


def sparkline(values: Sequence[float], width: int) -> str:
    """Draw the last `width` means of `values` as small columns."""
    finite = [value for value in values if value - value == 0]
    if not finite or width < 1:
        return ""
    size = max(1, -(-len(finite) // width))
    means = [sum(chunk) / len(chunk) for chunk in _chunks(finite, size)]
    low, high = min(means), max(means)
    scale = (len(SPARKS) - 1) / (high - low) if high > low else 0.0
    return "".join(SPARKS[round((mean - low) * scale)] for mean in means)


def _chunks(values: list[float], size: int) -> list[list[float]]:
    return [values[start : start + size] for start in range(0, len(values), size)]


def _break_point(words: str, width: int) -> int:
    """Return the index at which a line of at most `width` cells may end."""
    cells, fits = 0, 0
    for index, character in enumerate(words):
        cells += cell_len(character)
        if cells > width:
            break
        fits = index + 1
    fits = max(1, fits)
    dot = words.rfind(_DOT, 0, fits + len(_DOT) - 1)
    if dot * 2 > fits:
        return dot
    for at in range(fits, max(0, fits - 24), -1):
        if _may_break(words, at):
            return at
    return fits


def _may_break(words: str, at: int) -> bool:
    if at <= 0 or at >= len(words):
        return at > 0
    before, after = words[at - 1], words[at]
    if after in _CLOSING or before in _OPENING:
        return False
    return before == " " or after == " " or cell_len(before) == 2 or cell_len(after) == 2
