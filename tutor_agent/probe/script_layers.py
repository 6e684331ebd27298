"""Which layers a script freezes by hand: slices of a list of layers whose weights get `requires_grad`."""

from __future__ import annotations

import ast
import re

from tutor_agent.probe.script_values import Given

_LAYERS = re.compile(r"(?:^|\.)(?:layers|h|blocks|block)$")


def trained_last(tree: ast.Module) -> Given | None:
    """Return how many of the last layers are trained, when a slice says so: `layers[:-4]`, `layers[-4:]`.

    A slice from the front (`layers[:20]`) depends on the number of layers; it is returned as a negative
    number: so many of the first layers are frozen.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.For) and isinstance(node.iter, ast.Subscript):
            said = _switch(node)
            bounds = _bounds(node.iter)
            if said is None or bounds is None:
                continue
            lower, upper = bounds
            if said and lower is not None and lower < 0 and upper is None:
                return Given(-lower, node.lineno)
            if not said and lower in {None, 0} and upper is not None:
                return Given(-upper, node.lineno)
    return None


def _switch(node: ast.For) -> bool | None:
    """Return the value that `requires_grad` gets in the body of a loop."""
    for inner in ast.walk(node):
        if isinstance(inner, ast.Assign) and isinstance(inner.value, ast.Constant):
            target = inner.targets[0]
            if isinstance(target, ast.Attribute) and target.attr == "requires_grad":
                return bool(inner.value.value)
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute):
            first = inner.args[0] if inner.args else None
            if inner.func.attr == "requires_grad_":
                return bool(first.value) if isinstance(first, ast.Constant) else True
    return None


def _bounds(node: ast.Subscript) -> tuple[int | None, int | None] | None:
    if not isinstance(node.slice, ast.Slice) or not _LAYERS.search(ast.unparse(node.value)):
        return None
    bounds: list[int | None] = []
    for each in (node.slice.lower, node.slice.upper):
        try:
            value: object = ast.literal_eval(each) if each is not None else None
        except ValueError:
            return None
        if value is not None and not isinstance(value, int):
            return None
        bounds.append(value)
    return bounds[0], bounds[1]
