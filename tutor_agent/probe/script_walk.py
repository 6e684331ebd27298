"""The statements of a script in order: what each name holds, which calls are made, what is set on objects."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any, cast

from tutor_agent.probe.script_eval import Evaluator
from tutor_agent.probe.script_values import Function, Given, Made, Space, Symbol, Unknown, is_plain

_DEEPEST = 8
_MOST_CALLS = 400
_KNOWN_BASES = ("Trainer", "TrainingArguments", "Config")


@dataclass(frozen=True)
class Setting:
    """An attribute that was assigned: `tokenizer.pad_token = …`."""

    target: str
    value: object
    line: int
    code: str = ""


@dataclass(frozen=True)
class Derived:
    """A class of the script that builds on one of a library."""

    name: str
    base: str
    line: int
    methods: tuple[str, ...]


class Walker(Evaluator):
    """Walks a module from top to bottom, follows the script's own functions, and notes what it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.imports: list[Made] = []
        self.settings: list[Setting] = []
        self.derived: list[Derived] = []
        self.doubts: list[Unknown] = []
        self._functions: list[tuple[Function, Space | None]] = []
        self._entered: set[ast.AST] = set()
        self._active: list[ast.AST] = []
        self._returns: list[list[object]] = [[]]
        self._followed = 0

    def walk(self, tree: ast.Module) -> None:
        """Walk the module, then every function that nothing called, with unknown arguments."""
        self._body(tree.body)
        for function, owner in list(self._functions):
            if function.node not in self._entered:
                first = (Given(owner, function.node.lineno),) if owner is not None else ()
                self.call_function(
                    function, Made(function.node.name, first, {}, function.node.lineno)
                )

    def call_function(self, function: Function, made: Made) -> object:
        """Walk the body of a function with these arguments and return what it returns."""
        self._followed += 1
        node = function.node
        if node in self._active or len(self._active) >= _DEEPEST or self._followed > _MOST_CALLS:
            return self.unknown_call(made)
        self._entered.add(node)
        self._active.append(node)
        self.scopes.append(self._parameters(node, made))
        self._returns.append([])
        self._body(node.body)
        found = self._returns.pop()
        self.scopes.pop()
        self._active.pop()
        known = [value for value in found if not isinstance(value, Unknown)]
        return known[0] if known else self.unknown_call(made)

    def _parameters(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, made: Made
    ) -> dict[str, object]:
        listed = [*node.args.posonlyargs, *node.args.args]
        bound: dict[str, object] = {
            each.arg: Unknown(f"{node.name}({each.arg})", each.lineno)
            for each in (*listed, *node.args.kwonlyargs)
        }
        defaults = node.args.defaults
        for each, default in zip(listed[len(listed) - len(defaults) :], defaults, strict=True):
            bound[each.arg] = self.value(default)
        for each, default in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True):
            if default is not None:
                bound[each.arg] = self.value(default)
        for each, given in zip(listed, made.args, strict=False):
            bound[each.arg] = given.value
        for name, given in made.named.items():
            if name in bound:
                bound[name] = given.value
        return bound

    def _body(self, statements: list[ast.stmt]) -> None:
        for statement in statements:
            self.visit(statement)

    def visit_Import(self, node: ast.Import) -> None:
        """`import a.b as c`."""
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            self.scopes[-1][name] = Symbol(alias.name if alias.asname else name)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from a import b as c`."""
        for alias in node.names:
            full = f"{node.module}.{alias.name}" if node.module else alias.name
            self.scopes[-1][alias.asname or alias.name] = Symbol(full)
            self.imports.append(Made(full, (), {}, node.lineno))

    def visit_Assign(self, node: ast.Assign) -> None:
        """`a = b = value`."""
        value = self.value(node.value)
        for target in node.targets:
            self._bind(target, value, node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """`a: type = value`."""
        if node.value is not None:
            self._bind(node.target, self.value(node.value), node)

    def visit_NamedExpr(self, node: ast.NamedExpr) -> object:
        """`(a := value)`."""
        value = self.value(node.value)
        self.scopes[-1][node.target.id] = value
        return value

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """`a += value`: followed outside loops only, where it happens once."""
        target = cast("ast.expr", node.target)
        looping = any(isinstance(each, ast.For | ast.While) for each in self._active)
        joined = ast.copy_location(ast.BinOp(_loaded(target), node.op, node.value), node)
        self._bind(target, self.unknown(joined) if looping else self.value(joined), node)

    def _bind(self, target: ast.expr, value: Any, node: ast.stmt) -> None:
        if isinstance(target, ast.Name):
            self.scopes[-1][target.id] = value
        elif isinstance(target, ast.Tuple | ast.List):
            values = _unpacked(value, len(target.elts))
            for index, each in enumerate(target.elts):
                inner = values[index] if values else Unknown(ast.unparse(each), node.lineno)
                self._bind(each, inner, node)
        elif isinstance(target, ast.Attribute):
            self._set_attribute(target, value, node)
        elif isinstance(target, ast.Subscript):
            owner, key = self.value(target.value), self.value(target.slice)
            if isinstance(owner, dict) and isinstance(key, str):
                owner[key] = value
            self.settings.append(Setting(f"[{key!r}]", value, node.lineno))

    def _set_attribute(self, target: ast.Attribute, value: Any, node: ast.stmt) -> None:
        owner = self.value(target.value)
        code = ast.unparse(node)
        self.settings.append(Setting(f".{target.attr}", value, node.lineno, code))
        if isinstance(owner, Space):
            owner.attributes[target.attr] = Given(value, node.lineno)
        elif isinstance(owner, Made) and owner.last[:1].isupper():
            owner.named[target.attr] = Given(value, node.lineno)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """A function: walked when it is called, or at the end."""
        self._define(node)

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        """An asynchronous function."""
        self._define(node)

    def _define(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        function = Function(node)
        self.scopes[-1][node.name] = function
        self._functions.append((function, None))

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        """A class: a stand-in for its library base, or a holder of settings."""
        bases = [self.value(base) for base in node.bases]
        known = [b for b in bases if isinstance(b, Symbol) and b.name.endswith(_KNOWN_BASES)]
        methods = [each for each in node.body if isinstance(each, ast.FunctionDef)]
        if known:
            names = tuple(method.name for method in methods)
            self.derived.append(Derived(node.name, known[0].name, node.lineno, names))
            self.scopes[-1][node.name] = Symbol(known[0].name, self._fields(node))
            return
        space = Space(self._fields(node))
        self.scopes[-1][node.name] = space
        for method in methods:
            space.attributes[method.name] = Given(Function(method), method.lineno)
            self._functions.append((Function(method), space))

    def _fields(self, node: ast.ClassDef) -> dict[str, Given]:
        """Return what a class sets on itself, each with its line."""
        self.scopes.append({})
        lines: dict[str, int] = {}
        for each in node.body:
            if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                before = set(self.scopes[-1])
                self.visit(each)
                lines.update(dict.fromkeys(self.scopes[-1].keys() - before, each.lineno))
        fields = self.scopes.pop()
        return {
            name: Given(_default(value), lines.get(name, node.lineno))
            for name, value in fields.items()
        }

    def visit_Return(self, node: ast.Return) -> None:
        """The value of a function."""
        self._returns[-1].append(self.value(node.value))

    def visit_Expr(self, node: ast.Expr) -> None:
        """A call for its effect."""
        self.value(node.value)

    def visit_If(self, node: ast.If) -> None:
        """Take the branch that is known; else both, and what they disagree on is unknown."""
        test = self.value(node.test)
        if is_plain(test):
            self._body(node.body if test else node.orelse)
            return
        before = dict(self.scopes[-1])
        self._body(node.body)
        first = self.scopes[-1]
        self.scopes[-1] = dict(before)
        self._body(node.orelse)
        self.scopes[-1] = self._merged(first, self.scopes[-1], node)

    def _merged(
        self, first: dict[str, object], second: dict[str, object], node: ast.If
    ) -> dict[str, object]:
        merged = {**second, **first}
        for name in first.keys() & second.keys():
            one, other = first[name], second[name]
            if one is other or (is_plain(one) and is_plain(other) and one == other):
                continue
            doubt = Unknown(f"{name} if {ast.unparse(node.test)}", node.lineno)
            if all(is_plain(each) or isinstance(each, Unknown) for each in (one, other)):
                merged[name] = doubt
                continue
            self.doubts.append(doubt)
            merged[name] = other if is_plain(one) or isinstance(one, Unknown) else one
        return merged

    def visit_For(self, node: ast.For) -> None:
        """A loop: its body once, with an unknown item."""
        self.value(node.iter)
        self._bind(node.target, Unknown(ast.unparse(node.target), node.lineno), node)
        self._loop(node)

    def visit_While(self, node: ast.While) -> None:
        """A loop: its body once."""
        self.value(node.test)
        self._loop(node)

    def _loop(self, node: ast.For | ast.While) -> None:
        self._active.append(node)
        self._body(node.body)
        self._active.pop()
        self._body(node.orelse)

    def visit_With(self, node: ast.With) -> None:
        """A context: what it opens may get a name."""
        for item in node.items:
            value = self.value(item.context_expr)
            if item.optional_vars is not None:
                self._bind(item.optional_vars, value, node)
        self._body(node.body)

    def visit_Try(self, node: ast.Try) -> None:
        """Everything that could run."""
        for handler in node.handlers:
            self._body(handler.body)
        self._body([*node.body, *node.orelse, *node.finalbody])


def _loaded(target: ast.expr) -> ast.expr:
    """Return an assignment target as an expression that is read."""
    return ast.parse(ast.unparse(target), mode="eval").body


def _unpacked(value: object, count: int) -> list[object] | None:
    if isinstance(value, list | tuple):
        items = cast("list[object] | tuple[object, ...]", value)
        return list(items) if len(items) == count else None
    return None


def _default(value: object) -> object:
    """Return the default behind `dataclasses.field(default=…)`."""
    if isinstance(value, Made) and value.last == "field" and "default" in value.named:
        return value.named["default"].value
    return value
