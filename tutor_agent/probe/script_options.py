"""Options of a command line: argparse and HfArgumentParser, with their defaults."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tutor_agent.probe.script_values import Given, Made, Parser, Space, Symbol, Unknown

if TYPE_CHECKING:
    from collections.abc import Callable

CASTS: dict[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float, "bool": bool}
"""What turns a word of the command line into a value."""


def option_of(made: Made) -> object | None:
    """Follow argparse: options with their defaults, and the object that holds them."""
    if made.last == "ArgumentParser":
        return Parser()
    if made.last.startswith("parse_args_into_dataclasses") and isinstance(made.owner, Made):
        return _dataclasses(made.owner, made.line)
    parser = made.owner
    if not isinstance(parser, Parser):
        return None
    if made.last in {"add_argument_group", "add_mutually_exclusive_group"}:
        return parser
    if made.last == "add_argument":
        _add_option(parser, made)
        return Unknown("add_argument(…)", made.line)
    if made.last == "parse_known_args":
        return (Space(parser.options, "argparse"), Unknown("unknown arguments", made.line))
    return Space(parser.options, "argparse") if made.last == "parse_args" else None


def _add_option(parser: Parser, made: Made) -> None:
    flags = [given.value for given in made.args if isinstance(given.value, str)]
    if not flags:
        return
    long = next((flag for flag in flags if flag.startswith("--")), flags[0])
    named = made.get("dest")
    name = str(named.value) if named else long.lstrip("-").replace("-", "_")
    action = made.get("action")
    default = made.get("default")
    if default is not None:
        parser.options[name] = Given(_cast(default.value, made), default.line)
    elif action is not None and action.value in ("store_true", "store_false"):
        parser.options[name] = Given(action.value == "store_false", made.line)
    else:
        parser.options[name] = Given(Unknown(f"{long} (command line)", made.line), made.line)


def _cast(value: object, made: Made) -> object:
    kind = made.get("type")
    if isinstance(value, str) and kind is not None and isinstance(kind.value, Symbol):
        convert = CASTS.get(kind.value.name)
        try:
            return convert(value) if convert and kind.value.name != "bool" else value
        except (ValueError, OverflowError):
            return value
    return value


def _dataclasses(parser: Made, line: int) -> tuple[object, ...]:
    """Return what HfArgumentParser gives: defaults of the script's classes, open calls of the library's."""
    first = parser.get("dataclass_types", 0)
    listed = first.value if first else ()
    kinds = cast("tuple[object, ...]", listed if isinstance(listed, tuple | list) else (listed,))
    made = [
        Made(k.name, (), dict(k.defaults), line, open=True) if isinstance(k, Symbol) else k
        for k in kinds
    ]
    return tuple(made)
