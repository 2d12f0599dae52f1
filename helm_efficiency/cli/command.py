"""Options that commands share: -q and -v, those of tables, and groups of options that belong together.

The help of an option is the text in its annotation: `Annotated[int, "Most requests at a time."]`. A parameter of a
command may be a frozen dataclass: each of its fields is then an option (or, if it is a dataclass as well, a group) in
the panel PANEL of the help, and the command gets the whole.
"""

import inspect
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, is_dataclass
from datetime import datetime
from enum import Enum
from functools import partial, wraps
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, get_args, get_origin

import typer
import typer.core
import typer.models


@dataclass(frozen=True, slots=True)
class Printing:
    """Amount of output that a command prints.

    Attributes:
        quiet: True to print no notes.
        verbose: True to list everything that is grouped by default.
        all_rows: True to print every row of a table.
        all_columns: True to print every column, however wide the table is.
    """

    quiet: bool = False
    verbose: bool = False
    all_rows: bool = False
    all_columns: bool = False


_AS_USUAL = Printing()
_PRINTING: ContextVar[Printing] = ContextVar("printing", default=_AS_USUAL)

_NO_VALUE = " "
"""Placeholder of a flag's value in the help, which replaces typer's <bool>."""

_PLACEHOLDERS = {int: "NUMBER", float: "NUMBER", Path: "PATH", datetime: "DAY", str: "TEXT"}
"""Placeholders of values in the help, by type."""


def _flag(help: str, *names: str) -> Any:
    return typer.Option(*names, help=help, rich_help_panel="Printing")


_FLAGS = {
    "quiet": _flag("Print no notes.", "--quiet", "-q"),
    "verbose": _flag("List what is grouped otherwise.", "--verbose", "-v"),
}
_TABLE_FLAGS = {
    "all_rows": _flag("Print every row.", "--all"),
    "all_columns": _flag("Print every column, however wide.", "--all-columns"),
}


def printing() -> Printing:
    """Return how much the running command prints."""
    return _PRINTING.get()


class _Command(typer.core.TyperCommand):
    def get_params(self, ctx: Any) -> Any:
        return _tidied(super().get_params(ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = [each.metavar for each in self.get_params(ctx) if each.param_type_name == "argument"]
        return ["[OPTIONS]", *arguments]


class _Group(typer.core.TyperGroup):
    def get_params(self, ctx: Any) -> Any:
        return _tidied(super().get_params(ctx))


def _tidied(parameters: Any) -> Any:
    """Return click's parameters without the <bool> behind flags and the <str> behind names of arguments."""
    for each in parameters:
        if getattr(each, "is_flag", False):
            each.metavar = _NO_VALUE
        if each.param_type_name == "argument":
            each.display_type_rich = lambda *, ctx: None
    return parameters


class App(typer.Typer):
    """Application in which all commands share options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(cls=_Group, **options)

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command with the shared options; the function itself is not changed."""

        def add(function: Callable[..., None]) -> Callable[..., None]:
            paragraphs = inspect.cleandoc(function.__doc__ or "").split("\n\n")
            help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)  # the terminal breaks its lines
            super(App, self).command(name, help=help, cls=_Command, **options)(_with_shared_options(function))
            return function

        return add


def _with_shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with an option for each field of a group, with -q and -v, and with --all for tables."""
    own = list(_options_of(function))
    flags = _FLAGS | (_TABLE_FLAGS if any(each.name == "format" for each in own) else {})
    options = own + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in flags.items()
    ]
    for option in options:
        if described := get_args(option.annotation)[1:]:
            described[0].metavar = described[0].metavar or _placeholder(option, described[0])

    @wraps(function)
    def run(**values: Any) -> None:
        token = _PRINTING.set(Printing(**{name: values.pop(name) for name in flags}))
        try:
            function(**_grouped(function, values))
        finally:
            _PRINTING.reset(token)

    run.__annotations__ = {each.name: each.annotation for each in options}
    run.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
    return run


def _options_of(function: Callable[..., Any]) -> Iterator[inspect.Parameter]:
    """Yield the parameters of a function or a group, with the fields of a group in its place."""
    panel = getattr(function, "PANEL", None)
    for parameter in inspect.signature(function).parameters.values():
        if is_dataclass(parameter.annotation):
            yield from _options_of(_group_of(parameter))
        elif is_dataclass(function):
            yield _described(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY), panel)
        else:
            yield _described(parameter)


def _group_of(parameter: inspect.Parameter) -> Callable[..., Any]:
    group: Callable[..., Any] = parameter.annotation
    return group


def _described(parameter: inspect.Parameter, panel: str | None = None) -> inspect.Parameter:
    """Return a parameter as typer wants it: in the commands, its help is a plain text."""
    kind, *described = get_args(parameter.annotation) or (None,)
    if not (described and isinstance(described[0], str)):
        return parameter
    is_switch = kind is bool and parameter.default is False  # without a --no-… beside it
    names = (f"--{parameter.name.replace('_', '-')}",) if is_switch else ()
    is_argument = parameter.kind is not inspect.Parameter.KEYWORD_ONLY
    make = typer.Argument if is_argument else partial(typer.Option, *names)
    info = make(help=described[0], rich_help_panel=panel)
    return parameter.replace(annotation=Annotated[kind, info])


def _grouped(function: Callable[..., Any], values: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of a function or a group, with each group in it made from the values of its fields."""
    return {
        name: _group_of(parameter)(**_grouped(_group_of(parameter), values))
        if is_dataclass(parameter.annotation)
        else values[name]
        for name, parameter in inspect.signature(function).parameters.items()
    }


def _placeholder(option: inspect.Parameter, described: Any) -> str:
    """Return the placeholder of a value in the help: the name of an argument, or the kind of an option's value."""
    given = get_args(option.annotation)[0]
    kinds = [kind for kind in (*get_args(given), given) if kind is not NoneType]
    is_list = any(get_origin(kind) is list for kind in kinds)
    kind = get_args(kinds[0])[0] if get_origin(kinds[0]) is list else kinds[0]
    if isinstance(described, typer.models.ArgumentInfo):
        name = option.name.upper() + "..." * is_list
        return name if option.default is inspect.Parameter.empty else f"[{name}]"
    return "|".join(each.value for each in kind) if issubclass(kind, Enum) else _PLACEHOLDERS.get(kind, "")
