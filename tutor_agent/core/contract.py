"""The base of every contract: frozen, closed to unknown keys, explained field by field."""

from __future__ import annotations

import difflib
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from tutor_agent.core.errors import InvalidPlanError


class Contract(BaseModel):
    """A frozen value. The line under a field is its help text, tooltip and `why` prompt."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def parse(cls, data: object, where: str) -> Self:
        """Validate `data`, naming `where` it came from in any error.

        Raises:
            InvalidPlanError: A key is unknown (the nearest known one is named) or a value is not allowed.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise _explain(cls, error, where) from None


def _explain(cls: type[BaseModel], error: ValidationError, where: str) -> InvalidPlanError:
    english: list[str] = []
    chinese: list[str] = []
    for problem in error.errors(include_url=False):
        path = ".".join(str(part) for part in problem["loc"]) or cls.__name__
        if problem["type"] == "extra_forbidden":
            known = _known_keys(cls, problem["loc"][:-1])
            near = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1, cutoff=0.4)
            hint_en = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(known)}."
            hint_zh = f"是否想写 {near[0]!r}？" if near else f"可用的键：{'、'.join(known)}。"
            english.append(f"unknown key {path!r}; {hint_en}")
            chinese.append(f"未知的键 {path!r}；{hint_zh}")
        elif problem["type"] == "missing":
            english.append(f"key {path!r} is missing; add it.")
            chinese.append(f"缺少键 {path!r}，请补上。")
        else:
            english.append(f"{path} = {problem['input']!r}: {problem['msg']}.")
            chinese.append(f"{path} = {problem['input']!r} 不合要求：{problem['msg']}。")
    return InvalidPlanError(f"{where}: " + " ".join(english), f"{where}：" + " ".join(chinese))


def _known_keys(cls: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Return the keys that the contract at `path` inside `cls` knows."""
    current: Any = cls
    for part in path:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if field is None:
            return []
        current = field.annotation
    return list(getattr(current, "model_fields", {}))
