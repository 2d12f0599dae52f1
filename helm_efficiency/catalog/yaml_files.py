"""YAML files of users: of a size that was asked for, and no more in them than stands there."""

from pathlib import Path
from typing import Any

import yaml

from helm_efficiency.errors import FileFormatError, one_line
from helm_efficiency.files import read_bytes

_MOST_VALUES = 1_000_000
"""With each alias counted as what it stands for: a few lines of aliases of aliases stand for billions of values."""


def read_yaml(path: Path) -> Any:
    """The value in a YAML file.

    Raises:
        FileFormatError: It cannot be read, is too large, or is not YAML.
    """
    try:
        return parse_yaml(read_bytes(path).decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def parse_yaml(text: str, where: str) -> Any:
    """The value of a YAML text.

    Args:
        text: YAML.
        where: File, for messages.

    Raises:
        FileFormatError: It is not YAML.
    """
    try:
        document = yaml.safe_load(text)
        if _num_values(document, {}) > _MOST_VALUES:
            raise FileFormatError(
                f"{where}: more than {_MOST_VALUES:,} values, aliases counted as what they stand for."
            )
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise FileFormatError(f"{where}: not YAML ({one_line(' '.join(str(error).split()))}).") from error
    return document


def _num_values(value: Any, known: dict[int, int]) -> int:
    """How many values there are, those that are there twice counted twice; endlessly many for one that holds itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1  # until it is counted: then it holds itself
        parts = value if isinstance(value, list) else value.values()
        known[id(value)] = 1 + sum(_num_values(part, known) for part in parts)
    return known[id(value)]
