"""Expressions of a script worked out as far as constants lead; nothing is executed or imported."""

from __future__ import annotations

import ast
import operator
import posixpath
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from tutor_agent.probe.script_data import rows_of, subscript
from tutor_agent.probe.script_options import CASTS, option_of
from tutor_agent.probe.script_values import (
    Function,
    Given,
    Made,
    Rows,
    Space,
    Symbol,
    Unknown,
    is_plain,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_LARGEST = 1e18
_LONGEST = 50_000
_OPERATORS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,  # pyright: ignore[reportUnknownMemberType]
    ast.FloorDiv: operator.floordiv,  # pyright: ignore[reportUnknownMemberType]
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}
_SAME_PATH = frozenset({"abspath", "absolute", "expanduser", "as_posix", "resolve"})
_SHORTEST_CUT = 16
_TOKENS = re.compile(r"ids|tokens", re.IGNORECASE)
_SAME_MODEL = frozenset(
    {"to", "cuda", "cpu", "half", "bfloat16", "float", "train", "eval", "merge_and_unload"}
)
"""Methods of a model that give the model back."""


class Evaluator(ast.NodeVisitor):
    """Works out expressions. What is not known becomes `Unknown`, with its line."""

    def __init__(self) -> None:
        self.scopes: list[dict[str, object]] = [{"__name__": "__main__", "__file__": "script.py"}]
        self.calls: list[Made] = []
        self.cuts: list[Given] = []

    def look_up(self, name: str) -> object | None:
        """Return the value of a name, innermost scope first; None when it was never set."""
        return next((scope[name] for scope in reversed(self.scopes) if name in scope), None)

    def value(self, node: ast.AST | None) -> Any:
        """Return what an expression is."""
        return None if node is None else self.visit(node)

    def call_function(self, function: Function, made: Made) -> object:
        """Return what a function of the script gives; overridden where bodies are walked."""
        del function
        return self.unknown_call(made)

    def unknown(self, node: ast.AST) -> Unknown:
        """Return the mark of an expression whose value is not known."""
        code = ast.unparse(node)
        return Unknown(code if len(code) <= 80 else code[:77] + "…", getattr(node, "lineno", 0))

    def unknown_call(self, made: Made) -> Unknown:
        """Return the mark of a call whose value is not known."""
        return Unknown(f"{made.last}(…)", made.line)

    def generic_visit(self, node: ast.AST) -> object:
        """Look at everything below, so that calls inside are seen; the value is unknown."""
        super().generic_visit(node)
        return self.unknown(node)

    def visit_Constant(self, node: ast.Constant) -> object:
        """A literal."""
        plain = node.value is None or isinstance(node.value, str | int | float)
        return node.value if plain else self.unknown(node)

    def visit_Name(self, node: ast.Name) -> object:
        """A variable; a name that was never set stands for itself."""
        for scope in reversed(self.scopes):
            if node.id in scope:
                return scope[node.id]
        return Symbol(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> object:
        """`module.name`, or a field of a known object."""
        owner = self.value(node.value)
        if isinstance(owner, Symbol):
            return Symbol(f"{owner.name}.{node.attr}")
        if isinstance(owner, Space) and node.attr in owner.attributes:
            value = owner.attributes[node.attr].value
            if isinstance(value, Function) and value.is_property:
                made = Made(node.attr, (Given(owner, node.lineno),), {}, node.lineno)
                return self.call_function(value, made)
            return value
        if isinstance(owner, str) and node.attr == "parent":
            return posixpath.dirname(owner)
        if isinstance(owner, Made) and node.attr in owner.named and owner.last[:1].isupper():
            return owner.named[node.attr].value
        return self.unknown(node)

    def visit_List(self, node: ast.List) -> object:
        """A list."""
        return self._items(node)

    def visit_Tuple(self, node: ast.Tuple) -> object:
        """A tuple."""
        return tuple(self._items(node))

    def visit_Set(self, node: ast.Set) -> object:
        """A set, kept as a list."""
        return self._items(node)

    def _items(self, node: ast.List | ast.Tuple | ast.Set) -> list[object]:
        items: list[object] = []
        for element in node.elts:
            inner = self.value(element.value if isinstance(element, ast.Starred) else element)
            if isinstance(element, ast.Starred) and isinstance(inner, list | tuple):
                items.extend(cast("list[object]", inner))
            else:
                items.append(inner)
        return items

    def visit_Dict(self, node: ast.Dict) -> object:
        """A mapping; entries keep their lines for later use as arguments."""
        table: dict[Any, object] = {}
        for key, each in zip(node.keys, node.values, strict=True):
            inner = self.value(each)
            if key is None:
                table.update(cast("dict[Any, object]", inner) if isinstance(inner, dict) else {})
                continue
            name = self.value(key)
            if isinstance(name, str | int | float):
                table[name] = inner
        return table

    def visit_JoinedStr(self, node: ast.JoinedStr) -> object:
        """An f-string without format codes."""
        parts: list[str] = []
        for part in node.values:
            simple = isinstance(part, ast.FormattedValue) and part.format_spec is None
            inner = (
                self.value(part.value) if isinstance(part, ast.FormattedValue) else self.value(part)
            )
            if not is_plain(inner) or not (simple or isinstance(part, ast.Constant)):
                return self.unknown(node)
            parts.append(str(inner))
        joined = "".join(parts)
        return joined if len(joined) < _LONGEST else self.unknown(node)

    def visit_BinOp(self, node: ast.BinOp) -> object:
        """Arithmetic of constants, joined strings and paths."""
        left: Any = self.value(node.left)
        right: Any = self.value(node.right)
        both: tuple[Any, Any] = (left, right)
        numbers = all(isinstance(each, int | float) for each in both)
        strings = all(isinstance(each, str) for each in both)
        try:
            if strings and isinstance(node.op, ast.Div):
                return posixpath.join(str(left), str(right))
            if isinstance(node.op, ast.Pow) and numbers and abs(right) <= 64 and abs(left) <= 1e4:
                return _bounded(_power(left, right), self.unknown(node))
            if numbers and type(node.op) in _OPERATORS:
                return _bounded(_OPERATORS[type(node.op)](left, right), self.unknown(node))
            if isinstance(node.op, ast.Add) and (strings or _lists(both)):
                joined: object = left + right
                return joined if len(left) + len(right) < _LONGEST else self.unknown(node)
        except (ArithmeticError, TypeError, ValueError):
            pass
        return self.unknown(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> object:
        """A sign or a negation."""
        inner = self.value(node.operand)
        if isinstance(node.op, ast.USub) and isinstance(inner, int | float):
            return -inner
        if isinstance(node.op, ast.Not) and is_plain(inner):
            return not inner
        return self.unknown(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> object:
        """`and`, `or`: the first operand that decides, when all before it are known."""
        stop = isinstance(node.op, ast.Or)
        inner: object = None
        for each in node.values:
            inner = self.value(each)
            if not is_plain(inner):
                return self.unknown(node)
            if bool(inner) is stop:
                return inner
        return inner

    def visit_Compare(self, node: ast.Compare) -> object:
        """One comparison of constants."""
        values = [self.value(each) for each in (node.left, *node.comparators)]
        if len(values) == 2 and all(map(is_plain, values)):
            compare = _COMPARISONS.get(type(node.ops[0]))
            try:
                return compare(*values) if compare else self.unknown(node)
            except TypeError:
                return self.unknown(node)
        return self.unknown(node)

    def visit_IfExp(self, node: ast.IfExp) -> object:
        """`a if test else b`, when the test is known."""
        test = self.value(node.test)
        first, second = self.value(node.body), self.value(node.orelse)
        if is_plain(test):
            return first if test else second
        return first if is_plain(first) and first == second else self.unknown(node)

    def visit_Subscript(self, node: ast.Subscript) -> object:
        """An element of a known container, or a split of a data set."""
        owner = self.value(node.value)
        if isinstance(node.slice, ast.Slice):
            return self._slice(node, node.slice)
        key = self.value(node.slice)
        if isinstance(owner, Rows):
            return subscript(owner, key)
        if isinstance(owner, Space) and isinstance(key, str) and key in owner.attributes:
            return owner.attributes[key].value
        if not isinstance(owner, list | tuple | dict) or not is_plain(key):
            return self.unknown(node)
        try:
            return cast("dict[Any, object]", owner)[key]
        except (LookupError, TypeError):
            return self.unknown(node)

    def _slice(self, node: ast.Subscript, cut: ast.Slice) -> object:
        """A part of a list: unknown, but a list of tokens is cut to a length."""
        upper = self.value(cut.upper)
        length = isinstance(upper, int) and not isinstance(upper, bool) and upper >= _SHORTEST_CUT
        if cut.lower is None and length and _TOKENS.search(ast.unparse(node.value)):
            self.cuts.append(Given(upper, node.lineno))
        return self.unknown(node)

    def visit_Lambda(self, node: ast.Lambda) -> object:
        """A nameless function: looked into with unknown arguments."""
        self.scopes.append({a.arg: Unknown(a.arg, node.lineno) for a in node.args.args})
        self.value(node.body)
        self.scopes.pop()
        return self.unknown(node)

    def visit_Call(self, node: ast.Call) -> object:
        """A call: recorded, and followed where its result matters."""
        target, owner = self._target(node.func)
        made = self._made(node, target, owner)
        self.calls.append(made)
        if isinstance(target, Function):
            return self.call_function(target, _with_self(made) if not target.is_static else made)
        if isinstance(target, Space):
            return self._instance(target, made)
        for read in (rows_of, self._builtin, option_of):
            found = read(made)
            if found is not None:
                return found
        return made

    def _instance(self, kind: Space, made: Made) -> Space:
        """Return an object of a class of the script, made by its own `__init__`."""
        begin = kind.attributes.get("__init__")
        if begin is None or not isinstance(begin.value, Function):
            return Space({**kind.attributes, **made.named})
        instance = Space(dict(kind.attributes))
        arguments = (Given(instance, made.line), *made.args)
        self.call_function(begin.value, Made("__init__", arguments, made.named, made.line))
        return instance

    def _target(self, node: ast.expr) -> tuple[object, object]:
        """Return what is called, and the object whose method it is."""
        if not isinstance(node, ast.Attribute):
            return self.value(node), None
        owner = self.value(node.value)
        if isinstance(owner, Symbol):
            return Symbol(f"{owner.name}.{node.attr}"), None
        if isinstance(owner, Space) and node.attr in owner.attributes:
            return owner.attributes[node.attr].value, owner
        return Symbol(f".{node.attr}"), owner

    def _made(self, node: ast.Call, target: object, owner: object) -> Made:
        args: list[Given] = []
        named: dict[str, Given] = {}
        unread = False
        for each in node.args:
            inner = self.value(each.value if isinstance(each, ast.Starred) else each)
            unread = unread or isinstance(each, ast.Starred)
            args.append(Given(inner, each.lineno))
        for keyword in node.keywords:
            inner = self.value(keyword.value)
            if keyword.arg is not None:
                named[keyword.arg] = Given(inner, keyword.lineno)
            elif isinstance(inner, dict):
                table = cast("dict[object, object]", inner)
                named.update({str(k): Given(v, keyword.lineno) for k, v in table.items()})
            else:
                unread = True
        name = target.name if isinstance(target, Symbol) else ""
        if isinstance(target, Symbol):
            named = {**target.defaults, **named}
        if isinstance(target, Function):
            name = target.node.name
        elif isinstance(target, Made):
            name = f"{target.name}()"
        return Made(str(name), tuple(args), named, node.lineno, owner, unread)

    def _builtin(self, made: Made) -> object | None:
        """Return the result of the few functions that are understood."""
        plain = [given.value for given in made.args]
        known = bool(plain) and all(map(is_plain, plain))
        if made.name in CASTS and known and len(plain) == 1:
            try:
                return CASTS[made.name](plain[0])
            except (TypeError, ValueError, OverflowError):
                return None
        if made.last == "snapshot_download":
            given = made.get("model_id", 0) or made.get("repo_id")
            return given.value if given else None
        if made.name == "dict":
            return {key: given.value for key, given in made.named.items()}
        if isinstance(made.owner, Made) and made.last in _SAME_MODEL:
            return made.owner
        return _path_of(made, plain)


def _path_of(made: Made, plain: list[object]) -> str | None:
    """Return the path that a call makes; a script's own folder is the empty path."""
    words = [each for each in plain if isinstance(each, str)]
    if isinstance(made.owner, str) and made.last in _SAME_PATH:
        return made.owner
    if not words or (len(words) < len(plain) and made.last != "open"):
        return None
    if made.name in {"os.path.join", "posixpath.join"}:
        return posixpath.join(*words)
    if made.last == "dirname":
        return posixpath.dirname(words[0])
    return words[0] if made.last in {"Path", "open", "realpath", *_SAME_PATH} else None


def _with_self(made: Made) -> Made:
    """Return the call of a method with its object as first argument."""
    if not isinstance(made.owner, Space):
        return made
    return replace(made, args=(Given(made.owner, made.line), *made.args))


def _power(base: float, exponent: float) -> Any:
    return base**exponent


def _bounded(value: Any, otherwise: Unknown) -> object:
    number = isinstance(value, int | float) and not isinstance(value, complex)
    return value if number and abs(value) <= _LARGEST else otherwise


def _lists(both: tuple[object, object]) -> bool:
    return all(isinstance(each, list) for each in both) or all(
        isinstance(each, tuple) for each in both
    )
