"""Check the types of dataclasses read from files: a dataclass accepts any value, and would fail only when used."""

from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from helm_efficiency.errors import InputError

_MOST = 2**63 - 1
"""Largest integer that fits into an array; the token counts of any model are far below it."""

T = TypeVar("T")


def checked(item: T) -> T:
    """Return the dataclass instance itself if each field has its annotated type (of containers, only their kind).

    Raises:
        InputError: A field has another type; the message names it.
    """
    for name, hint in get_type_hints(type(item)).items():
        value = getattr(item, name)
        allowed = get_args(hint) if isinstance(hint, UnionType) else (hint,)
        if not any(_fits(value, each) for each in allowed):
            expected = " or ".join(getattr(each, "__name__", str(each)) for each in allowed)
            raise InputError(f"{name} is {str(value)[:80]!r}, expected {expected}.")
    return item


def _fits(value: Any, hint: Any) -> bool:
    kind = get_origin(hint) or hint
    if kind in (int, float):
        return isinstance(value, (int, kind)) and not isinstance(value, bool) and (kind is float or abs(value) <= _MOST)
    return not isinstance(kind, type) or isinstance(value, kind)
