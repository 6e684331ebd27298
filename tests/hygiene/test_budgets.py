"""The quality budgets of ARCHITECTURE.md, measured on every file."""

from __future__ import annotations

import ast
import math
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted([*ROOT.glob("tutor_agent/**/*.py"), *ROOT.glob("skills/**/*.py")])
TESTS = sorted(ROOT.glob("tests/**/*.py"))
# The borders where anything may come in: a tool call, a skill's own code, the supervisor.
BROAD_EXCEPT = {
    "tutor_agent/brain/tools/kit.py",
    "tutor_agent/skillkit/load.py",
    "tutor_agent/runs/supervise.py",
}


def _relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def _length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body without the docstring."""
    body = function.body[1:] if ast.get_docstring(function) else function.body
    return (function.end_lineno or 0) - body[0].lineno + 1 if body else 0


@pytest.mark.parametrize("path", SOURCES + TESTS, ids=_relative)
def test_file_fits_on_its_pages(path: Path) -> None:
    limit = 250 if "/scripts/" in _relative(path) else 400
    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_functions_are_short_and_take_few_parameters(path: Path) -> None:
    for function in _functions(path):
        assert _length(function) <= 60, f"{function.name}: {_length(function)} lines"
        is_command = any("click" in ast.unparse(d) for d in function.decorator_list)
        positional = len(function.args.posonlyargs) + len(function.args.args)
        assert is_command or positional <= 7, f"{function.name}: {positional} parameters"


def test_most_functions_are_shorter_still() -> None:
    lengths = sorted(_length(function) for path in SOURCES for function in _functions(path))
    assert lengths[math.ceil(0.95 * len(lengths)) - 1] <= 45


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_no_global_and_no_broad_except_inside_the_borders(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        assert not isinstance(node, ast.Global), f"line {node.lineno}: global"
        if isinstance(node, ast.ExceptHandler):
            caught = "" if node.type is None else ast.unparse(node.type)
            broad = caught in {"", "Exception", "BaseException"}
            reraises = any(isinstance(inner, ast.Raise) for inner in ast.walk(node))
            assert not broad or reraises or _relative(path) in BROAD_EXCEPT, f"line {node.lineno}"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_contracts_are_small(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and any(ast.unparse(b) == "Contract" for b in node.bases):
            fields = [item for item in node.body if isinstance(item, ast.AnnAssign)]
            assert len(fields) <= 15, f"{node.name}: {len(fields)} fields"


@pytest.mark.parametrize("path", SOURCES, ids=_relative)
def test_everything_is_annotated(path: Path) -> None:
    for function in _functions(path):
        arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in {"self", "cls"}]
        assert not bare, f"{function.name}: {bare}"
        assert function.returns is not None, f"{function.name} has no return annotation"


@pytest.mark.parametrize("path", TESTS, ids=_relative)
def test_tests_do_not_sleep(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert ast.unparse(node.func) not in {"time.sleep", "sleep", "asyncio.sleep"}, (
                node.lineno
            )
