"""Packages that only some commands need: extras of this package, so that scoring installs without them."""

from collections.abc import Iterator
from contextlib import contextmanager

from helm_efficiency.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Around imports of what an extra brings.

    Args:
        extra: Its name in setup.cfg, such as "report".

    Raises:
        MissingExtraError: A module that is imported within is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This needs {error.name}, which is not installed: pip install 'helm-efficiency[{extra}]'."
        ) from error
