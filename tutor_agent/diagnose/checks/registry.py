"""The registry of checks: small named functions for what one line cannot say."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tutor_agent.core.errors import NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from tutor_agent.diagnose.observations import Observations


@dataclass(frozen=True, slots=True)
class Shown:
    """What a check found: figures for the evidence, and how strongly it speaks if not as usual."""

    values: dict[str, object] = field(default_factory=dict[str, object])
    weight: float | None = None


_CHECKS: dict[str, Callable[[Observations], Shown | None]] = {}


def check(
    name: str,
) -> Callable[[Callable[[Observations], Shown | None]], Callable[[Observations], Shown | None]]:
    """Register a check under `name`."""

    def register(
        function: Callable[[Observations], Shown | None],
    ) -> Callable[[Observations], Shown | None]:
        _CHECKS[name] = function
        return function

    return register


def find_check(name: str) -> Callable[[Observations], Shown | None]:
    """Return the check called `name`.

    Raises:
        NotFoundError: There is none.
    """
    if name not in _CHECKS:
        known = ", ".join(sorted(_CHECKS))
        raise NotFoundError(
            f"No check is called {name!r}. There are: {known}.",
            f"没有名为 {name!r} 的检查。现有：{known}。",
        )
    return _CHECKS[name]
