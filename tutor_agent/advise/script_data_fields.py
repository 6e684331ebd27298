"""What an old script says of its data, its task and its method."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutor_agent.core.text import Text
from tutor_agent.probe.script_values import Given, Rows

if TYPE_CHECKING:
    from tutor_agent.advise.carried import Carried
    from tutor_agent.core.plan import Task
    from tutor_agent.probe.script import Script


def skill_of(script: Script) -> str:
    """Return the training skill that does what the script does."""
    if script.lora is not None:
        return "lora"
    return "layer-freezing" if script.frozen is not None else "full-fine-tuning"


def task_of(script: Script) -> Task | None:
    """Return the task, when the script tells; else the columns of the data decide."""
    if script.model is not None and "ForSequenceClassification" in script.model.name:
        return "classification"
    return "pretraining" if script.kind == "trainer" and script.text_column else None


def data_from_script(carried: Carried, given: dict[str, Given], script: Script) -> None:
    """Carry over files, columns, lengths and what is learnt of them."""
    _files(carried, script)
    _lengths(carried, given, script)
    _supervising(carried, given)
    packing = given.get("packing") or script.part("packing")
    value = carried.plain("packing", packing)
    if isinstance(value, bool):
        carried.keep("data.packing", value, packing)
    elif script.tokenizing and script.kind == "trainer" and not script.joins_texts:
        call = script.tokenizing[0]
        note = Text(en="your script pads each row by itself", zh="脚本把每一行单独填充")
        carried.keep("data.packing", False, Given(False, call.line), note)
    column = given.get("dataset_text_field") or script.part("dataset_text_field")
    name = carried.plain("dataset_text_field", column) or (
        script.text_column if script.kind == "trainer" else None
    )
    if isinstance(name, str) and task_of(script) != "classification":
        line = column.line if column else script.tokenizing[0].line
        carried.keep("data.columns.text", name, Given(name, line))


def _files(carried: Carried, script: Script) -> None:
    train = script.train
    if train is None:
        return
    parts = (("train", train), ("validation", script.validation), ("test", script.test))
    used: set[str] = set()
    for name, rows in parts:
        if rows is not None and rows.paths and rows.paths[0] not in used:
            used.add(rows.paths[0])
            carried.keep(f"data.{name}", rows.paths[0], Given(rows.paths[0], rows.line))
    held = _held(train, script.validation)
    if held is not None and "data.validation" not in carried.fields:
        carried.keep("data.holdout", held, Given(held, train.line))


def _held(train: Rows, validation: Rows | None) -> float | None:
    """Return the share that the script puts aside for validation, within what a plan allows."""
    held = validation.share if validation is not None and validation.share else train.held
    if held is None and train.share is not None:
        held = 1 - train.share
    return round(min(held, 0.49), 4) if held and held > 0 else None


def _supervising(carried: Carried, given: dict[str, Given]) -> None:
    for name in ("assistant_only_loss", "completion_only_loss"):
        if carried.plain(name, given.get(name)) is True:
            carried.keep("data.supervise", "assistant", given[name])


def _lengths(carried: Carried, given: dict[str, Given], script: Script) -> None:
    places = [call.get("max_length") for call in script.tokenizing]
    if script.kind == "sft":
        places = [
            given.get("max_length"),
            given.get("max_seq_length"),
            script.part("max_seq_length"),
            *places,
        ]
    loader = script.find_loader("Tokenizer")
    places += [*script.seen.cuts, loader.get("model_max_length") if loader else None]
    for each in places:
        value = carried.plain("max_length", each)
        if isinstance(value, int) and value >= 8 and each is not None:
            carried.keep("data.max_length", value, each)
            carried.unknown.pop("max_length", None)
            return
