"""Is the tuned model better? Held-out loss, perplexity, and answers side by side."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.runs.measures import beside_the_loss
from tutor_agent.tui import figures
from tutor_agent.tui.paint import Part, hanging, line, lines, wrap
from tutor_agent.tui.widgets.card import Card
from tutor_agent.tui.widgets.repairs import repair_lines

if TYPE_CHECKING:
    from tutor_agent.runs.view import RunView, SamplePair
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

_MAX_LINES = 4
_CLEAR = 0.005
_SIDE_BY_SIDE = 64
_MAX_METRICS = 4
_OUTCOMES = {"better": ("$done", "✓"), "worse": ("$trouble", "✗"), "same": ("$caution", "=")}


class ResultCard(Card):
    """What a completed run has brought."""

    def __init__(self, view: RunView, *, samples: int = 2) -> None:
        self.view = view
        self._samples = samples
        super().__init__()

    def title(self, words: Words) -> str:
        """Name the card."""
        return words("result.title")

    def identity(self, words: Words) -> str:
        """Name the run."""
        return self.view.name

    def paint(self, words: Words, width: int) -> Content:
        """Draw figures, the line of repairs, then samples."""
        parts = [hanging(result_rows(self.view, words), width)]
        if self.view.trials:
            parts += [Content(""), repair_lines(self.view, words, width)]
        for pair in self.view.samples[: self._samples]:
            parts += [Content(""), *_sample(pair, words, width)]
        return lines(*parts)


def result_rows(view: RunView, words: Words) -> list[Row]:
    """Return held-out loss, perplexity, best step, time and place."""
    rows: list[Row] = []
    before, after = view.held_out_before, view.held_out_after
    if before is not None and after is not None:
        change = (after - before) / before if before else 0.0
        rows.append(
            (words("result.loss"), _arrow(figures.loss(before), figures.loss(after), change))
        )
        pair = (_perplexity(before), _perplexity(after))
        rows.append((words("result.perplexity"), _arrow(*pair, None)))
        rows += _metric_rows(view, words)
        rows.append((words("result.verdict"), _verdict(before, after, words)))
    if view.best is not None and view.best_step is not None:
        best = words("result.best_at", loss=figures.loss(view.best), step=view.best_step)
        rows.append((words("result.best"), Content.styled(best, "$detail")))
    if view.seconds is not None:
        time = figures.duration(view.seconds, words.language)
        rows.append((words("result.time"), Content.styled(time, "$detail")))
    rows.append((words("result.place"), Content.styled(_place(view), "$detail")))
    return rows


def _metric_rows(view: RunView, words: Words) -> list[Row]:
    """Return the task's own metrics, each with its direction."""
    rows: list[Row] = []
    for metric in beside_the_loss(view.metrics)[:_MAX_METRICS]:
        style, sign = _OUTCOMES.get(metric.outcome or "", ("$detail", ""))
        change = line(
            (metric.shown(metric.before), "$detail"),
            (" → ", "$label"),
            (metric.shown(metric.after), "bold $value"),
            (f"  {sign}", style),
        )
        title = words.of(metric.title)
        rows.append((title[:1].upper() + title[1:], change))
    if rows and view.answered:
        rows.append(("", Content.styled(words("result.answered", count=view.answered), "$detail")))
    return rows


def _place(view: RunView) -> str:
    return str(Path(*Path(view.path).parts[-2:]) / "result")


def _perplexity(loss: float) -> str:
    return figures.short(math.exp(loss)) if loss < 50 else "inf"


def _arrow(before: str, after: str, change: float | None) -> Content:
    parts: list[Part] = [(before, "$detail"), (" → ", "$label"), (after, "bold $value")]
    if change is not None:
        style = "$done" if change < -_CLEAR else ("$trouble" if change > _CLEAR else "$caution")
        digits = 0 if abs(change) >= 0.1 else 1
        parts.append((f"  {change * 100:+.{digits}f}%".replace("-", "−"), style))
    return line(*parts)


def _verdict(before: float, after: float, words: Words) -> Content:
    if after < before * (1 - _CLEAR):
        return Content.styled(words("result.better"), "$done")
    if after > before * (1 + _CLEAR):
        return Content.styled(words("result.worse"), "$trouble")
    return Content.styled(words("result.same"), "$caution")


def _sample(pair: SamplePair, words: Words, width: int) -> list[Content]:
    prompt = " ".join(pair.prompt.split())
    head = line((words("result.prompt") + "  ", "$label"), (prompt, "$value"))
    answers = [
        (words("result.before"), pair.before, "$detail"),
        (words("result.after"), pair.after, "$value"),
    ]
    if width >= _SIDE_BY_SIDE:
        return [head.truncate(width, ellipsis=True), *_side_by_side(answers, width)]
    rows: list[Row] = []
    for label, answer, style in answers:
        kept = _clip(answer, max(8, width - 8))
        rows += [(label if n == 0 else "", part.stylize(style)) for n, part in enumerate(kept)]
    return [head.truncate(width, ellipsis=True), hanging(rows, width)]


def _side_by_side(answers: list[tuple[str, str | None, str]], width: int) -> list[Content]:
    room = (width - 3) // 2
    columns = [
        [Content.styled(label, "$label"), *(part.stylize(style) for part in _clip(answer, room))]
        for label, answer, style in answers
    ]
    out: list[Content] = []
    for y in range(max(map(len, columns))):
        cells = [column[y] if y < len(column) else Content("") for column in columns]
        left = cells[0].pad_right(max(0, room - cells[0].cell_length))
        out.append(line(left, (" │ ", "$line"), cells[1]))
    return out


def _clip(answer: str | None, width: int) -> list[Content]:
    parts = wrap(Content(" ".join((answer or "–").split())), width)
    if len(parts) <= _MAX_LINES:
        return parts
    last = parts[_MAX_LINES - 1].truncate(width - 1).append("…")
    return [*parts[: _MAX_LINES - 1], last]
