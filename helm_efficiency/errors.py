"""Errors that a user can cause or meet. Each message says what was given, what was expected and what to do next."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import PurePath


class EfficiencyError(Exception):
    """Base of all errors of this package; the command line prints it as one line and exits with 2."""


class InputError(EfficiencyError):
    """A value, a file or a folder that the user named is invalid."""


class FileFormatError(InputError):
    """A file cannot be read in the expected format; the message names the file, the line and the expected content."""


class InsufficientMeasurementsError(EfficiencyError):
    """The measurements do not determine the requested result; the message says which ones are missing."""


class StoreError(EfficiencyError):
    """The coefficient store is not one of this package, is damaged, or has a newer schema."""


class UnknownDeploymentError(EfficiencyError):
    """The coefficients of a deployment on a stack are missing; the message lists the available ones."""


class CatalogError(EfficiencyError):
    """The catalog does not know an accelerator, an architecture or a price."""


class ProfilingError(EfficiencyError):
    """A model or an endpoint could not be profiled."""


class OutputError(EfficiencyError):
    """A file could not be written, as on a full disk; the earlier file is unharmed."""


class MissingExtraError(EfficiencyError):
    """A package that only some commands need is not installed; the message names the extra that brings it."""


@contextlib.contextmanager
def failing_alone(source: str) -> Iterator[None]:
    """Raise InputError for any unforeseen error, so that one run of an archive never stops the others.

    Errors of this package and of the file system pass unchanged; callers that work on many runs expect them.

    Raises:
        InputError: The work failed in a way that is a defect of this package, or of an adapter of another one.
    """
    try:
        yield
    except (EfficiencyError, OSError):
        raise
    except Exception as error:
        reason = next(iter(str(error).splitlines()), "")
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise InputError(
            f"{source}: {type(error).__name__}: {reason} ({PurePath(place.filename).name}, line {place.lineno}). "
            "This run was left out. Please report it, with the run if you may share it."
        ) from error


_LONGEST_LINE = 1500
_LONGEST_END = 300


def one_line(text: str) -> str:
    """Return text as one line for a terminal: unprintable characters as escapes, pages without their middle.

    >>> one_line("no such file: a\\nb")
    'no such file: a\\\\nb'
    """
    if len(text) > _LONGEST_LINE:
        text = f"{text[: _LONGEST_LINE - _LONGEST_END]} … {text[-_LONGEST_END:]}"
    return printable(text)


def printable(text: str) -> str:
    """Return text with an escape for each character that breaks lines, controls terminals or changes text direction.

    Names of files and models are untrusted. All code that shows them, as text, Markdown, LaTeX, CSV, HTML or a figure,
    must pass them through this function.

    >>> printable("llama\\x1b[2J")
    'llama\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
