"""Extras of this package: packages that only some commands need, so that scoring installs without them."""

from collections.abc import Iterator
from contextlib import contextmanager

from helm_efficiency.errors import MissingExtraError


@contextmanager
def needs_extra(extra: str) -> Iterator[None]:
    """Enclose imports of the modules that an extra installs.

    Args:
        extra: Name of the extra in setup.cfg, such as "report".

    Raises:
        MissingExtraError: A module that is imported within the context is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"This needs {error.name}, which is not installed: pip install 'helm-efficiency[{extra}]'."
        ) from error


EXTRA_OF = {
    "torch": "profile",
    "transformers": "profile",
    "httpx": "profile",
    "helm": "helm",
    "distributed": "cluster",
    "dask": "cluster",
    "pynvml": "energy",
    "aiconfigurator_core": "stacks",
}
"""Extra of this package that installs each module."""


def missing_extra(error: ModuleNotFoundError) -> str | None:
    """Return one line about a module that an extra installs; None for any other module.

    >>> missing_extra(ModuleNotFoundError(name="torch.nn"))
    "This needs torch, which is not installed: pip install 'helm-efficiency[profile]'."
    """
    name = (error.name or "").partition(".")[0]
    extra = EXTRA_OF.get(name)
    return extra and f"This needs {name}, which is not installed: pip install 'helm-efficiency[{extra}]'."
