"""Encode and decode dataclasses as JSON, for the store and for the files of `export` and `import`.

msgspec checks every field against its annotation, so damaged or hostile data fails here and not later in use.
"""

from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import msgspec

from helm_efficiency.errors import InputError

T = TypeVar("T")


def encode(item: Any) -> bytes:
    """Return the JSON of a dataclass.

    Raises:
        TypeError: The dataclass holds a value that JSON cannot represent.
        InputError: The dataclass holds a name that is not UTF-8.
    """
    try:
        return msgspec.json.encode(item)
    except UnicodeEncodeError as error:
        raise InputError(f"A name in it is not UTF-8: {error.object!r}. Choose another one.") from error


def decode(data: bytes | str, kind: type[T]) -> T:
    """Return the dataclass in a JSON text that `encode` wrote.

    Raises:
        InputError: The text is not JSON, or a field is missing, of the wrong type or out of range.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError) as error:
        raise _refusal(kind, error) from error


def to_plain(item: Any) -> Any:
    """Return a dataclass as dicts, lists, numbers and texts."""
    return msgspec.to_builtins(item)


def from_plain(value: Any, kind: type[T]) -> T:
    """Return the dataclass in plain JSON values, which may have been written by hand.

    Raises:
        InputError: A field is missing, unknown, of the wrong type or out of range.
    """
    try:
        item = msgspec.convert(value, kind)
    except (msgspec.MsgspecError, UnicodeError, OverflowError, RecursionError) as error:
        raise _refusal(kind, error) from error
    _refuse_unknown(value, to_plain(item), kind)
    return item


def _refuse_unknown(given: Any, kept: Any, kind: type) -> None:
    """Fail on a key that decoding skipped: msgspec ignores unknown fields of dataclasses."""
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        unknown = sorted(map(str, given.keys() - kept.keys()))
        if unknown:
            raise InputError(f"Not {_name(kind)} of this package: unknown key {unknown[0][:80]!r}.")
        for key, value in given.items():
            _refuse_unknown(value, kept[key], kind)
    elif isinstance(given, list) and isinstance(kept, list | tuple):
        for value, own in zip(given, kept, strict=True):
            _refuse_unknown(value, own, kind)


def _refusal(kind: type, error: Exception) -> InputError:
    return InputError(f"Not {_name(kind)} of this package: {error}.")


def _name(kind: type) -> str:
    own = (get_args(kind) or (kind,))[0].__name__  # for a generic, the type that it holds
    words = "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in own)
    return f"{'' if own.endswith('s') else 'a '}{words.strip()}"
