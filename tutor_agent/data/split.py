"""Put rows aside for validation and test, so that no row is on both sides."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from tutor_agent.core.errors import NotPossibleError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from tutor_agent.data.load import SourceRow


class Split(NamedTuple):
    """Rows for learning, for watching while learning, and for the final figure."""

    train: list[SourceRow]
    validation: list[SourceRow]
    test: list[SourceRow]


def split_rows(rows: Sequence[SourceRow], *, validation: float, test: float, seed: int) -> Split:
    """Split `rows` by content: rows that say the same always fall on the same side.

    The order of the file does not matter; the seed does. A share of 0 makes that side empty.

    Raises:
        NotPossibleError: There are fewer different rows than sides.
    """
    groups: defaultdict[str, list[SourceRow]] = defaultdict(list)
    for row in rows:
        groups[row.key].append(row)
    wanted = 1 + (validation > 0) + (test > 0)
    if len(groups) < wanted:
        raise NotPossibleError(
            f"{len(rows)} rows hold only {len(groups)} different ones; training, validation and test need at least "
            f"{wanted}. Add rows, or name files for validation and test in the plan.",
            f"{len(rows)} 行中只有 {len(groups)} 行互不相同；训练、验证和测试至少需要 {wanted} 行。"
            "请增加数据，或在计划中指定验证和测试文件。",
        )
    order = sorted(groups, key=lambda key: _rank(key, seed))
    tested = _take(groups, order, round(test * len(rows)), wanted=test > 0)
    rest = [key for key in order if key not in tested]
    validated = _take(groups, rest, round(validation * len(rows)), wanted=validation > 0)
    aside = tested | validated
    return Split(
        train=[row for row in rows if row.key not in aside],
        validation=_ordered(rows, validated, seed),
        test=_ordered(rows, tested, seed),
    )


def shuffled(rows: Sequence[SourceRow], seed: int) -> list[SourceRow]:
    """Return `rows` in an order that depends on their content and the seed alone."""
    return sorted(rows, key=lambda row: (_rank(row.key, seed), row.line))


def without(rows: Sequence[SourceRow], other: Sequence[SourceRow]) -> list[SourceRow]:
    """Return the rows whose content does not occur in `other`."""
    known = {row.key for row in other}
    return [row for row in rows if row.key not in known]


def _take(
    groups: dict[str, list[SourceRow]], order: Sequence[str], rows: int, *, wanted: bool
) -> set[str]:
    """Choose groups until `rows` rows are reached; a group too large for the rest is passed over."""
    if not wanted:
        return set()
    taken: set[str] = set()
    room = max(rows, 1)
    for key in order:
        if len(groups[key]) <= room:
            taken.add(key)
            room -= len(groups[key])
    return taken or {min(order, key=lambda key: len(groups[key]))}


def _ordered(rows: Sequence[SourceRow], keys: Collection[str], seed: int) -> list[SourceRow]:
    return shuffled([row for row in rows if row.key in keys], seed)


def _rank(key: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{key}".encode()).hexdigest()
