"""Tools that look: at the machine, a model, a data file, the workspace."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from tutor_agent.actions.inspect import see_data, see_machine, see_model
from tutor_agent.brain.tools.kit import Desk, Tool, ToolResult, plain
from tutor_agent.brain.wording import listed, parameters
from tutor_agent.core.contract import Contract
from tutor_agent.core.text import Text

if TYPE_CHECKING:
    from tutor_agent.core.facts import DataFacts, Machine, ModelFacts

_DATA = frozenset({".csv", ".tsv", ".jsonl", ".json", ".parquet"})
_SKIPPED = frozenset({"runs", "node_modules", "__pycache__", "venv", "site-packages"})
_DEPTH, _MOST = 3, 40


class InspectMachine(Contract):
    """Arguments of `inspect_machine`."""

    machine: str | None = None
    """A machine in words such as `4xA100-80G`; leave out for this computer."""


class InspectModel(Contract):
    """Arguments of `inspect_model`."""

    model: str
    """A model id, a catalogue name, or a local folder."""


class InspectData(Contract):
    """Arguments of `inspect_data`."""

    path: str
    """A CSV, JSONL, JSON or Parquet file."""


class ListFiles(Contract):
    """Arguments of `list_files`: none."""


class DataFiles(Contract):
    """The data files of the workspace."""

    files: tuple[str, ...] = ()
    """Paths from the workspace, latest first."""


def say_machine(machine: Machine) -> Text:
    """Describe a machine in a sentence."""
    memory = f"{machine.cores} cores, {machine.ram_gib:.0f} GiB RAM"
    memory_zh = f"{machine.cores} 核 CPU，{machine.ram_gib:.0f} GiB 内存"
    if not machine.accelerators:
        return Text(en=f"No GPU; {memory}.", zh=f"没有 GPU；{memory_zh}。")
    first, count = machine.accelerators[0], len(machine.accelerators)
    gpus = f"{count}× {first.name}, {first.memory_gib:.0f} GiB each"
    gpus_zh = f"{count}× {first.name}，每张 {first.memory_gib:.0f} GiB"
    if machine.described:
        return Text(en=f"{gpus}.", zh=f"{gpus_zh}。")
    return Text(en=f"{gpus}; {memory}.", zh=f"{gpus_zh}；{memory_zh}。")


def say_model(model: ModelFacts) -> Text:
    """Describe a model in a sentence or two."""
    total, active = parameters(model.parameters.total), parameters(model.parameters.active)
    moe = model.shape.experts is not None
    shape = model.shape
    return listed(
        [
            Text(
                en=f"{model.name}: {total} parameters"
                + (f" ({active} active)" if moe else "")
                + f", {shape.layers} layers, {shape.heads} heads of {shape.head_dim}, width {shape.hidden}.",
                zh=f"{model.name}：{total} 参数"
                + (f"（激活 {active}）" if moe else "")
                + f"，{shape.layers} 层，{shape.heads} 个注意力头（每头 {shape.head_dim} 维），"
                f"隐藏维度 {shape.hidden}。",
            ),
            *model.special[:2],
        ]
    )


_TASKS = {
    "chat": Text(en="chat", zh="对话"),
    "completion": Text(en="completion", zh="续写"),
    "pretraining": Text(en="plain text", zh="继续预训练"),
    "classification": Text(en="classification", zh="分类"),
    "qa": Text(en="question answering", zh="问答"),
    "summarization": Text(en="summarization", zh="摘要"),
}


def say_data(data: DataFacts) -> Text:
    """Describe a data file in a sentence."""
    roles = ", ".join(f"{column} → {role}" for role, column in data.roles.items())
    broken, task = len(data.problems), _TASKS[data.task]
    return Text(
        en=f"{Path(data.path).name}: {data.rows} usable rows, {task.en} ({roles}); "
        f"median {data.lengths.p50}, 95 % below {data.lengths.p95} tokens"
        + (f"; {data.duplicates} duplicates" if data.duplicates else "")
        + (f"; {broken} problems" if broken else "")
        + ".",
        zh=f"{Path(data.path).name}：{data.rows} 行可用，像是{task.zh}任务（{roles}）；"
        f"长度中位数 {data.lengths.p50}，95% 在 {data.lengths.p95} token 以内"
        + (f"；重复 {data.duplicates} 行" if data.duplicates else "")
        + (f"；{broken} 处问题" if broken else "")
        + "。",
    )


def _inspect_machine(desk: Desk, arguments: InspectMachine) -> ToolResult:
    machine = see_machine(desk.context, arguments.machine)
    data = plain(machine, desk.context.language, ("packages",))
    return ToolResult(data, machine, say_machine(machine))


def _inspect_model(desk: Desk, arguments: InspectModel) -> ToolResult:
    model = see_model(desk.context, arguments.model)
    return ToolResult(plain(model, desk.context.language), model, say_model(model))


def _inspect_data(desk: Desk, arguments: InspectData) -> ToolResult:
    data = see_data(desk.context, arguments.path)
    hidden = () if desk.share_rows else ("samples",)
    return ToolResult(plain(data, desk.context.language, hidden), data, say_data(data))


def _list_files(desk: Desk, arguments: ListFiles) -> ToolResult:
    del arguments
    found = DataFiles(files=tuple(_data_files(desk.context.workspace)))
    names = ", ".join(found.files[:5])
    summary = (
        Text(en=f"Data files: {names}.", zh=f"数据文件：{names}。")
        if found.files
        else Text(en="No data file in the workspace.", zh="工作区里没有数据文件。")
    )
    return ToolResult({"files": list(found.files)}, found, summary)


def _data_files(workspace: Path) -> list[str]:
    found: list[Path] = []
    for place, folders, files in os.walk(workspace):
        here = Path(place)
        deep = len(here.relative_to(workspace).parts) >= _DEPTH
        folders[:] = [] if deep else [f for f in sorted(folders) if _is_own(f)]
        found += [here / f for f in files if Path(f).suffix.lower() in _DATA and f[0] != "."]
        if len(found) > 10 * _MOST:
            break
    found.sort(key=lambda path: (-path.stat().st_mtime, path))
    return [str(path.relative_to(workspace)) for path in found[:_MOST]]


def _is_own(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _SKIPPED


LOOKING = (
    Tool(
        name="inspect_machine",
        title=Text(en="Look at the machine", zh="查看机器"),
        description="GPUs with memory, CPU, RAM, disk of this computer, or of a machine given in words.",
        parameters=InspectMachine,
        run=_inspect_machine,
    ),
    Tool(
        name="inspect_model",
        title=Text(en="Look at the model", zh="查看模型"),
        description="Architecture numbers, parameters and peculiarities of a model, without loading weights.",
        parameters=InspectModel,
        run=_inspect_model,
        paths=("model",),
    ),
    Tool(
        name="inspect_data",
        title=Text(en="Look at the data", zh="查看数据"),
        description="Format, columns and their roles, rows, token lengths, duplicates, broken rows of a data file.",
        parameters=InspectData,
        run=_inspect_data,
        paths=("path",),
    ),
    Tool(
        name="list_files",
        title=Text(en="Look for data files", zh="查找数据文件"),
        description="The data files (CSV, JSONL, JSON, Parquet) in the workspace, latest first.",
        parameters=ListFiles,
        run=_list_files,
    ),
)
