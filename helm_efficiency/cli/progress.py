"""Show progress on a terminal while a command works, and nothing elsewhere."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from helm_efficiency.cli.command import printing


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a spinner with the seconds that have passed."""
    with bar(what, None):
        yield


@contextmanager
def bar(what: str, total: int | None) -> Iterator[Callable[[], None]]:
    """Show a bar and yield a function that advances it by one; show a spinner if the total is not known."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    counted = (BarColumn(), MofNCompleteColumn()) if total is not None else ()
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), *counted, TimeElapsedColumn())
    is_off = printing().quiet or not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), disable=is_off, transient=True) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)
