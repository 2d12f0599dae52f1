"""The command line. Commands register here; each imports what it needs only when it is called."""

import importlib
import io
import sys
from typing import Annotated

import typer

from helm_efficiency.errors import EfficiencyError, one_line
from helm_efficiency.version import __version__

_INTERRUPTED = 130
"""Exit status of what was ended by Ctrl-C: 128 and the number of its signal."""

app = typer.Typer(
    name="helm-efficiency",
    help="How efficient each model of an evaluation is, beside how capable.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

_COMMAND_MODULES: tuple[str, ...] = (
    "quickstart",
    "coefficients",  # import, export, show
    "runtimes",  # fit, predict
    "validation",  # validate
    "costs",  # accelerators, cost, savings
    "rescore",
    "denoising",  # denoise
    "records",
    "reports",  # leaderboard, plot, report, paper, schema
    "profiling",  # profile
    "doctor",
    "architectures",  # architecture list|show|add, transfer, coverage
)


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
    """Run the command line: 0 done, 1 finished but something failed or was missing, 2 wrong use, 130 interrupted."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name that is not in the terminal's alphabet is no reason to stop
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except (EfficiencyError, OSError) as error:
        sys.stderr.write(f"helm-efficiency: {one_line(str(error))}\n")
        sys.exit(2)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != _INTERRUPTED:  # typer makes an exit of an interrupt
            raise
        sys.stderr.write("helm-efficiency: interrupted; what was finished is kept, call again to go on.\n")
        sys.exit(_INTERRUPTED)
