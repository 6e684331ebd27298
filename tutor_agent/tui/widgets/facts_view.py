"""Facts in a few rows: the machine, a model, a data file."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from textual.content import Content

from tutor_agent.core.facts import DataFacts, Machine, ModelFacts
from tutor_agent.tui import figures
from tutor_agent.tui.paint import dotted, hanging, line
from tutor_agent.tui.widgets.piece import Piece

if TYPE_CHECKING:
    from tutor_agent.core.text import Text
    from tutor_agent.tui.paint import Row
    from tutor_agent.tui.wording import Words

FactsOf = Machine | ModelFacts | DataFacts
_MAX_PROBLEMS = 3
_LINKS = {"pcie": "PCIe", "nvlink": "NVLink", "hccs": "HCCS"}


class FactsView(Piece):
    """Facts without a border, under the line of the tool that found them."""

    DEFAULT_CSS = """
    FactsView { margin-bottom: 1; padding-left: 2; }
    """

    def __init__(self, facts: FactsOf) -> None:
        super().__init__()
        self.facts = facts

    def paint(self, width: int) -> Content:
        """Draw the rows."""
        match self.facts:
            case Machine():
                rows = machine_rows(self.facts, self.words)
            case ModelFacts():
                rows = model_rows(self.facts, self.words)
            case DataFacts():
                rows = data_rows(self.facts, self.words)
        return hanging(rows, width)


def machine_name(machine: Machine) -> str:
    """Return a machine in a word: `4×A100-80G`, or its cores."""
    if not machine.accelerators:
        return f"CPU×{machine.cores}"
    first = machine.accelerators[0]
    name = first.name.removeprefix("NVIDIA ").split("-")[0].removeprefix("GeForce ")
    return f"{len(machine.accelerators)}×{name}-{first.memory_gib:.0f}G"


def machine_rows(machine: Machine, words: Words) -> list[Row]:
    """Return accelerators, processor, memory, disk."""
    rows: list[Row] = []
    if machine.accelerators:
        first, count = machine.accelerators[0], len(machine.accelerators)
        precision = "bf16" if first.bf16 else "fp16"
        link = _LINKS.get(machine.link, "")
        size = f"{first.memory_gib:.0f} GiB"
        value = line((f"{count}× {first.name.removeprefix('NVIDIA ')}", "bold $value"), "  ")
        rows.append((words("facts.gpu"), line(value, _dim(size, precision, link))))
    else:
        rows.append((words("facts.gpu"), Content.styled(words("facts.no_gpu"), "$caution")))
    cores = words("facts.cores", count=machine.cores)
    bf16 = "bf16" if machine.cpu_bf16 else ""
    rows.append((words("facts.cpu"), line((cores, "$value"), "  ", _dim(machine.cpu, bf16))))
    if machine.ram_gib and not machine.described:
        free = words("facts.free", size=figures.gib(machine.free_ram_gib))
        ram = f"{figures.gib(machine.ram_gib)} GiB"
        rows.append((words("facts.ram"), line((ram, "$value"), "  ", _dim(free))))
        disk = words("facts.free", size=figures.gib(machine.free_disk_gib))
        rows.append((words("facts.disk"), _dim(disk)))
    return rows + _notes(machine.warnings, words)


def model_rows(model: ModelFacts, words: Words) -> list[Row]:
    """Return size, shape and what is special."""
    size = figures.count(model.parameters.total)
    parts = [model.architecture, model.quantization or model.dtype]
    if model.parameters.active != model.parameters.total:
        parts.insert(0, words("facts.active", count=figures.count(model.parameters.active)))
    shape = model.shape
    numbers = [
        words("facts.layers", count=shape.layers),
        words("facts.width", count=shape.hidden),
        words("facts.vocab", count=f"{shape.vocab:,}"),
    ]
    if shape.max_positions:
        numbers.append(words("facts.context", count=f"{shape.max_positions:,}"))
    return [
        (words("facts.model"), line((model.name, "bold $value"))),
        (words("facts.size"), line((size, "$value"), "  ", _dim(*parts))),
        (words("facts.shape"), _dim(*numbers)),
        *_notes(model.special, words),
    ]


def data_rows(data: DataFacts, words: Words) -> list[Row]:
    """Return rows, format, lengths and trouble."""
    head = line(
        (words("facts.rows", count=f"{data.rows:,}"), "bold $value"),
        "  ",
        _dim(PurePath(data.path).name, data.format, words(f"task.{data.task}")),
    )
    roles = [f"{role} ← {column}" for role, column in data.roles.items()]
    lengths = data.lengths
    exact = "" if lengths.exact else words("facts.estimated")
    numbers = [f"p50 {lengths.p50:,}", f"p95 {lengths.p95:,}", f"max {lengths.longest:,}", exact]
    rows: list[Row] = [
        (words("facts.data"), head),
        (words("facts.columns"), _dim(*roles)),
        (words("facts.tokens"), _dim(*numbers)),
    ]
    if data.duplicates:
        text = words("facts.duplicates", count=f"{data.duplicates:,}")
        rows.append((words("facts.repeated"), Content.styled(text, "$caution")))
    for number, problem in enumerate(data.problems[:_MAX_PROBLEMS]):
        where = words("facts.line", line=problem.line) if problem.line else ""
        style = "$trouble" if problem.fatal else "$caution"
        value = line((f"{where} ".lstrip(), style), (words.of(problem.text), "$detail"))
        rows.append((words("facts.problems") if number == 0 else "", value))
    more = len(data.problems) - _MAX_PROBLEMS
    if more > 0:
        rows.append(("", Content.styled(words("facts.more_problems", count=more), "$label")))
    return rows


def _dim(*parts: str) -> Content:
    return dotted((part, "$detail") for part in parts)


def _notes(texts: tuple[Text, ...], words: Words) -> list[Row]:
    return [
        (words("facts.note") if n == 0 else "", Content.styled(words.of(text), "$detail"))
        for n, text in enumerate(texts)
    ]
