"""The one-line conditions of fault cards: a small, safe subset of Python over metric series.

Allowed are metrics by name, numbers, `and or not`, comparisons (chained too), `+ - * /`, and calls
of the functions below. A metric that was never logged is an empty series; a figure of an empty
series is NaN, and NaN proves nothing: every comparison with it is false.

    has count last first           was it logged, how many points, ends (last(x, default=0))
    low high mean median slope     over the numbers among the last n points: mean(x, 5); 0 = all
    ratio since rising             last over low, points after the lowest, rises in a row at the end
    bad distinct before_bad        points that are NaN or infinite, different values, number before
    step step_first step_low step_high step_bad     at which step that was
    finite(v) abs(v) log(v)        of one number
"""

from __future__ import annotations

import ast
import itertools
import math
import operator
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from tutor_agent.core.errors import UnreadableError
from tutor_agent.diagnose.figures import NAN, NUMBER_FIGURES, SERIES_FIGURES
from tutor_agent.diagnose.series import Series, as_series

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_LONGEST = 600

_BINARY: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: a / b if b else NAN,
}
_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: lambda a, b: a < b or a > b,
}


def evaluate(expression: str, series: Mapping[str, Series | Sequence[float]]) -> float | bool:
    """Evaluate `expression` over metric series.

    Raises:
        UnreadableError: The expression uses something that conditions do not allow.
    """
    return _Evaluator(series).number(_parse(expression))


def check_condition(expression: str) -> None:
    """Raise UnreadableError when `expression` is not a condition, whatever the log says."""
    evaluate(expression, {})


@lru_cache(maxsize=2048)
def _parse(expression: str) -> ast.expr:
    if len(expression) > _LONGEST:
        raise _not_allowed(expression[:60] + "…")
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise _not_allowed(expression) from None
    _reject_unknown(tree, expression)
    return tree


def _reject_unknown(tree: ast.expr, expression: str) -> None:
    """Check every branch once, since `and` and `or` may never reach some of them."""
    known = SERIES_FIGURES.keys() | NUMBER_FIGURES.keys()
    for node in ast.walk(tree):
        allowed: tuple[Any, ...] = (
            ast.Name, ast.Load, ast.UnaryOp, ast.Not, ast.USub, ast.BoolOp, ast.And, ast.Or,
            ast.BinOp, *_BINARY, ast.Compare, *_COMPARE, ast.keyword,
        )  # fmt: skip
        match node:
            case ast.Constant(value=bool() | int() | float()):
                continue
            case ast.Call(func=ast.Name(id=name)) if name in known and node.args:
                continue
            case _ if isinstance(node, allowed):
                continue
            case _:
                raise _not_allowed(ast.unparse(node) or expression)


class _Evaluator:
    """Walks one parsed condition over one set of series."""

    def __init__(self, series: Mapping[str, Series | Sequence[float]]) -> None:
        self._series = series

    def number(self, node: ast.expr) -> float | bool:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return value
            case ast.UnaryOp(op=ast.Not(), operand=inner):
                return not self._true(inner)
            case ast.UnaryOp(op=ast.USub(), operand=inner):
                return -self.number(inner)
            case ast.BoolOp(op=ast.And(), values=parts):
                return all(self._true(part) for part in parts)
            case ast.BoolOp(op=ast.Or(), values=parts):
                return any(self._true(part) for part in parts)
            case ast.BinOp(left=left, op=op, right=right):
                return _BINARY[type(op)](self.number(left), self.number(right))
            case ast.Compare():
                return self._compare(node)
            case ast.Call(func=ast.Name(id=name)):
                return self._call(name, node)
            case _:
                raise _not_allowed(ast.unparse(node))

    def _true(self, node: ast.expr) -> bool:
        value = self.number(node)
        return bool(value) and not (isinstance(value, float) and math.isnan(value))

    def _compare(self, node: ast.Compare) -> bool:
        values = [self.number(part) for part in (node.left, *node.comparators)]
        pairs = itertools.pairwise(values)
        return all(
            _COMPARE[type(op)](left, right)
            for op, (left, right) in zip(node.ops, pairs, strict=True)
        )

    def _call(self, name: str, node: ast.Call) -> float | bool:
        rest = [self.number(argument) for argument in node.args[1:]]
        keywords = {k.arg: self.number(k.value) for k in node.keywords if k.arg}
        if name in NUMBER_FIGURES:
            return NUMBER_FIGURES[name](self.number(node.args[0]))
        metric = node.args[0]
        if not isinstance(metric, ast.Name):
            raise _not_allowed(ast.unparse(node))
        try:
            series = as_series(self._series.get(metric.id, ()))
            return SERIES_FIGURES[name](series, *rest, **keywords)
        except TypeError:
            raise _not_allowed(ast.unparse(node)) from None


def _not_allowed(words: str) -> UnreadableError:
    functions = ", ".join((*SERIES_FIGURES, *NUMBER_FIGURES))
    return UnreadableError(
        f"{words!r} is not allowed in a condition. Allowed: metrics inside these functions, numbers, "
        f"and/or/not, comparisons, + - * /. Functions: {functions}.",
        f"条件里不能写 {words!r}。允许：函数中的指标名、数字、and/or/not、比较、+ - * /。函数有：{functions}。",
    )
