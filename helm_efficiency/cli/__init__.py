"""The command line. Commands register here; each imports what it needs only when it is called."""

import contextlib
import importlib
import io
import os
import sys
from pathlib import Path
from typing import Annotated, NoReturn, TextIO

import typer

from helm_efficiency.cli.command import App
from helm_efficiency.errors import EfficiencyError, one_line
from helm_efficiency.extras import missing_extra
from helm_efficiency.version import __version__

_INTERRUPTED = 130
"""Exit status of a command that was ended by Ctrl-C: 128 plus the number of the signal."""

app = App(
    name="helm-efficiency",
    help="How efficient each model of an evaluation is, beside how capable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

_COMMAND_MODULES: tuple[str, ...] = (
    *("estimate", "predict", "cost", "accelerators", "architecture", "transfer", "coverage"),
    *("score", "rescore", "leaderboard", "plot", "report", "denoise", "savings", "paper"),
    *("profile", "fit", "validate"),
    *("quickstart", "records", "schema", "serve"),
    *("example", "import_", "export", "show", "doctor"),
)
"""Modules of the commands, in the order and the groups of the help."""


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        typer.echo(f"helm-efficiency {__version__}")
        raise typer.Exit


for _name in _COMMAND_MODULES:
    importlib.import_module(f"helm_efficiency.cli.{_name}")


def main() -> None:
    """Run the command line: exit 0 if done, 1 if anything failed or was missing, 2 for wrong use, 130 by Ctrl-C."""
    _prepare_streams()
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here a failure can still be reported
    except BrokenPipeError:  # the reader of the pipe has closed it
        _forget(sys.stdout)
        sys.exit(1)
    except ModuleNotFoundError as error:
        line = missing_extra(error)
        if line is None:
            raise
        _end(2, line)
    except (EfficiencyError, OSError) as error:
        _end(2, one_line(str(error)))
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:  # typer turns an interrupt into an exit
            raise
        _end(_INTERRUPTED, "interrupted; what was finished is kept, call again to go on.")


def _prepare_streams() -> None:
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the caller: the next opened file would get its descriptor
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115 (for good)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that the terminal cannot encode must not stop the command
            stream.reconfigure(errors="backslashreplace")


def _end(status: int, line: str) -> NoReturn:
    for stream, text in ((sys.stdout, ""), (sys.stderr, f"helm-efficiency: {line}\n")):
        try:
            stream.write(text)
            stream.flush()
        except OSError:
            _forget(stream)
    sys.exit(status)


def _forget(stream: TextIO) -> None:
    """Discard the data that a stream still holds: otherwise writing it would fail again when the process ends."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
