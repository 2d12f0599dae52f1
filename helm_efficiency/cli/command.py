"""Options that every command has: -h, -q and -v, and those of tables if the command prints a table."""

import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, get_args

import typer


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

_FLAGS = {
    "quiet": typer.Option("--quiet", "-q", help="Print no notes.", metavar=_NO_VALUE, rich_help_panel="Printing"),
    "verbose": typer.Option(
        "--verbose", "-v", help="List what is grouped otherwise.", metavar=_NO_VALUE, rich_help_panel="Printing"
    ),
}
_TABLE_FLAGS = {
    "all_rows": typer.Option("--all", help="Print every row.", metavar=_NO_VALUE, rich_help_panel="Printing"),
    "all_columns": typer.Option(
        "--all-columns", help="Print every column, however wide.", metavar=_NO_VALUE, rich_help_panel="Printing"
    ),
}


def printing() -> Printing:
    """Return how much the running command prints."""
    return _PRINTING.get()


class App(typer.Typer):
    """Application in which all commands share options."""

    def command(self, name: str | None = None, **options: Any) -> Callable[[Any], Any]:
        """Register a command with the shared options; the function itself is not changed."""
        register = super().command(name, **options)

        def add(function: Callable[..., None]) -> Callable[..., None]:
            register(_with_shared_options(function))
            return function

        return add


def _with_shared_options(function: Callable[..., None]) -> Callable[..., None]:
    """Return the function with -q and -v and, if it prints a table, with --all and --all-columns."""
    signature = inspect.signature(function)
    for parameter in signature.parameters.values():
        if get_args(parameter.annotation)[:1] == (bool,):
            get_args(parameter.annotation)[1].metavar = _NO_VALUE
    flags = _FLAGS | (_TABLE_FLAGS if "format" in signature.parameters else {})
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Annotated[bool, option])
        for name, option in flags.items()
    ]

    @wraps(function)
    def run(**values: Any) -> None:
        given = {name: values.pop(name) for name in flags}
        token = _PRINTING.set(Printing(**given))
        try:
            function(**values)
        finally:
            _PRINTING.reset(token)

    run.__annotations__ = {**function.__annotations__, **{each.name: each.annotation for each in added}}
    shared = signature.replace(parameters=[*signature.parameters.values(), *added])
    run.__signature__ = shared  # type: ignore[attr-defined]
    return run
