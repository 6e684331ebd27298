"""Look at what is here: the machine, a model, a data file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.probe.data import inspect_data
from tutor_agent.probe.machine import describe_machine, inspect_machine
from tutor_agent.probe.model import inspect_model

if TYPE_CHECKING:
    from tutor_agent.actions.context import Context
    from tutor_agent.core.facts import DataFacts, Machine, ModelFacts


def see_machine(context: Context, words: str | None = None) -> Machine:
    """Look at this machine, or read one from words such as `4xA100-80G`."""
    return describe_machine(words) if words else inspect_machine(context.workspace)


def see_model(context: Context, source: str) -> ModelFacts:
    """Read a model's architecture: a local folder, the cache, or the catalogue; never its weights."""
    folder = context.workspace / source
    return inspect_model(str(folder) if folder.is_dir() else source)


def see_data(context: Context, path: str) -> DataFacts:
    """Read a data file: format, columns, rows, lengths, broken rows by line."""
    return inspect_data(context.file(path))
