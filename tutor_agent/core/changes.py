"""Changes of a plan: chat edits, fixes and the ledger all use them."""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import JsonValue

from tutor_agent.core.contract import Contract
from tutor_agent.core.errors import InvalidPlanError
from tutor_agent.core.plan import Plan


class Entry(Contract):
    """One field changed."""

    path: str
    """Dotted place in the plan, such as `optim.learning_rate` or `params.r`."""
    op: Literal["set", "multiply", "add"] = "set"
    """What is done with `value`."""
    value: JsonValue
    """The new value, the factor, or the number added."""


class PlanChange(Contract):
    """A list of entries, applied in order."""

    entries: tuple[Entry, ...] = ()
    """What is changed."""

    @classmethod
    def set(cls, **values: JsonValue) -> PlanChange:
        """Make a change that sets fields; write `optim__learning_rate` for a dotted path."""
        return cls(
            entries=tuple(Entry(path=k.replace("__", "."), value=v) for k, v in values.items())
        )

    @property
    def paths(self) -> tuple[str, ...]:
        """The fields that are touched."""
        return tuple(entry.path for entry in self.entries)


def apply(plan: Plan, change: PlanChange) -> Plan:
    """Return `plan` with `change` applied. Setting a key of `params` or `columns` to None removes it.

    Raises:
        InvalidPlanError: A path does not exist, or the new value is not allowed there.
    """
    data = plan.model_dump(mode="json")
    for entry in change.entries:
        _apply_entry(data, entry)
    return Plan.parse(data, "changed plan")


def diff(before: Plan, after: Plan) -> PlanChange:
    """Return the change that turns `before` into `after`, one entry a leaf."""
    old, new = flatten(before), flatten(after)
    entries = [
        Entry(path=path, value=value)
        for path, value in new.items()
        if path not in old or old[path] != value
    ]
    entries += [Entry(path=path, value=None) for path in old if path not in new]
    return PlanChange(entries=tuple(entries))


def flatten(plan: Plan) -> dict[str, JsonValue]:
    """Return every leaf of the plan by its dotted path; lists are leaves."""
    leaves: dict[str, JsonValue] = {}

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict) and (value or not path):
            for key, inner in value.items():  # pyright: ignore[reportUnknownVariableType]
                walk(inner, f"{path}.{key}" if path else str(key))  # pyright: ignore[reportUnknownArgumentType]
        else:
            leaves[path] = value

    walk(plan.model_dump(mode="json"), "")
    return leaves


def _apply_entry(data: dict[str, Any], entry: Entry) -> None:
    *parents, leaf = entry.path.split(".")
    target: Any = data
    for part in parents:
        target = target.get(part) if isinstance(target, dict) else None  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    open_mapping = bool(parents) and parents[-1] in {"params", "columns"}
    if not isinstance(target, dict) or (leaf not in target and not open_mapping):
        raise _unknown_path(data, entry.path)
    if entry.op == "set":
        if entry.value is None and open_mapping:
            target.pop(leaf, None)  # pyright: ignore[reportUnknownMemberType]
        else:
            target[leaf] = entry.value
        return
    old = target.get(leaf)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if not isinstance(old, int | float) or not isinstance(entry.value, int | float):
        raise InvalidPlanError(
            f"{entry.path} is {old!r}: only a number can be changed by {entry.op!r}. Use 'set'.",
            f"{entry.path} 的值是 {old!r}：只有数值才能用 {entry.op!r} 修改，请改用 'set'。",
        )
    new = old * entry.value if entry.op == "multiply" else old + entry.value
    target[leaf] = max(1, round(new)) if isinstance(old, int) and not isinstance(old, bool) else new


def _unknown_path(data: dict[str, Any], path: str) -> InvalidPlanError:
    known = list(flatten(Plan.model_validate(data)))
    near = difflib.get_close_matches(path, known, n=3, cutoff=0.3)
    return InvalidPlanError(
        f"The plan has no field {path!r}. Nearest: {', '.join(near) or ', '.join(known[:8])}.",
        f"计划里没有字段 {path!r}。相近的有：{'、'.join(near) or '、'.join(known[:8])}。",
    )
