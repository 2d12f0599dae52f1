"""What every case has to keep to: no traceback, no hang, no gigabyte, one line that names the file."""

import contextlib
import io
import os
import random
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from helm_efficiency.cli import main
from helm_efficiency.errors import EfficiencyError, one_line
from helpers.mutations import Damage

NUM_CASES = int(os.environ.get("HELM_EFFICIENCY_MUTATIONS", "40"))
"""Cases of each kind."""

CASE_S = 10.0
"""What no case may take of a processor, which does not depend on who else is there; all together take seconds."""

MOST_BYTES = 10**9
"""What no case may take of memory."""


@contextlib.contextmanager
def little_memory(num_bytes: int = MOST_BYTES) -> Iterator[None]:
    """No more than so many bytes beyond what the process has by now: MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else None
    limits = resource.getrlimit(resource.RLIMIT_AS)
    if pages is not None:
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + num_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


def check(
    original: Path,
    read: Callable[[Path], Any],
    damage: Damage,
    *,
    of: Path | None = None,
    num_cases: int = NUM_CASES,
) -> int:
    """Damage the file again and again.

    Args:
        original: The file; it is overwritten.
        read: Given the file, or `of`.
        damage: How.
        of: The folder that is read and holds it.
        num_cases: How often.

    Returns:
        How many cases were refused.
    """
    sound = original.read_bytes()
    read(of or original)
    num_refused = 0
    for seed in range(num_cases):
        data = damage(sound, random.Random(f"{original.name} {seed}"))
        original.write_bytes(data)
        before = sorted((of or original.parent).rglob("*"))
        started = time.process_time()
        try:
            with little_memory():
                read(of or original)
        except EfficiencyError as error:
            num_refused += 1
            text = one_line(str(error))
            assert original.name in text or (of and of.name in text), f"seed {seed} names no file: {text}"
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
        assert time.process_time() - started < CASE_S, f"seed {seed} took too long"
        assert original.read_bytes() == data, f"seed {seed}: the file was changed"
        assert sorted((of or original.parent).rglob("*")) == before, f"seed {seed}: files came or went"
    assert num_refused, "no case was refused: the damage does not reach what is read"
    return num_refused


@contextlib.contextmanager
def in_child(work: Callable[[], object]) -> Iterator[int]:
    """The id of a process that does something."""
    process = os.fork()
    if not process:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    try:
        yield process
    finally:
        os.waitpid(process, 0)


class Called(NamedTuple):
    """What a command did."""

    code: int
    stdout: str
    stderr: str


def call(*arguments: object) -> Called:
    """A command of this package as it is called from a shell, but in this process; any traceback is a failure."""
    stdout, stderr, argv = io.StringIO(), io.StringIO(), sys.argv
    sys.argv = ["helm-efficiency", *map(str, arguments)]
    try:
        with contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
            try:
                main()
                code = 0
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.argv = argv
    return Called(code, stdout.getvalue(), stderr.getvalue())


def refused(*arguments: object, naming: object) -> str:
    """Call a command that has to say in one line why it does nothing.

    Args:
        arguments: Of the command.
        naming: What the line has to name.

    Returns:
        The line.
    """
    code, stdout, stderr = call(*arguments)
    assert (code, stdout) == (2, ""), (code, stdout, stderr)
    assert stderr.startswith("helm-efficiency: ") and stderr.count("\n") == 1, stderr
    assert one_line(str(naming)) in stderr, stderr
    return stderr
