"""Show progress on a terminal while a command works, and nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from helm_efficiency.cli.command import printing
from helm_efficiency.errors import one_line


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with the seconds that have passed."""
    with bar(what, None):
        yield


@contextmanager
def bar(what: str, total: int | None, *, shown: bool = True) -> Iterator[Callable[..., None]]:
    """Show a bar, or a spinner if the total is not known.

    Args:
        what: Text beside the bar.
        total: Number of steps; None if it is not known.
        shown: False to show nothing even on a terminal.

    Yields:
        Function that advances the bar by one step; it takes a new text, or None to keep the text.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    counted = () if total is None else (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), *counted, TimeElapsedColumn())
    with Progress(
        *columns,
        console=Console(stderr=True),
        disable=not shown or printing().quiet or not sys.stderr.isatty(),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),  # else rich would send stdout to the bar's terminal
    ) as progress:
        task = progress.add_task(what, total=total)

        def advance(text: str | None = None) -> None:
            progress.update(task, advance=1, description=None if text is None else one_line(text))

        yield advance
