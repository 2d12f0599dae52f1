"""Read users' price files: checked rows, exact decimals, dates. Error messages name the file, row and column."""

import csv
from collections.abc import Collection, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import yaml
from yaml.constructor import ConstructorError

from helm_efficiency.errors import FileFormatError, one_line
from helm_efficiency.files import read_bytes


def read_text(path: Path) -> str:
    """Read a price file.

    Raises:
        FileFormatError: The file is missing, too large or not text.
    """
    try:
        return read_bytes(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read as a price file ({str(error).splitlines()[0]}).") from error


def read_csv_rows(path: Path, *, needed: Collection[str], optional: Collection[str]) -> list[dict[str, str]]:
    """Read the rows of a CSV file with a header.

    Raises:
        FileFormatError: The file cannot be read, or its columns are not the expected ones.
    """
    reader = csv.DictReader(read_text(path).splitlines())
    try:
        columns = reader.fieldnames or ()
        check_names(columns, needed=needed, optional=optional, where=str(path))
        return list(reader)
    except csv.Error as error:
        raise FileFormatError(f"{path}, line {reader.line_num}: {error}.") from error


def check_names(names: Collection[Any], *, needed: Collection[str], optional: Collection[str], where: str) -> None:
    """Check that all needed columns or keys are present, and that all present ones are known.

    Raises:
        FileFormatError: A name is missing or unknown.
    """
    unknown = sorted(str(name) for name in names if name not in needed and name not in optional)
    missing = [name for name in needed if name not in names]
    if unknown or missing:
        found = "".join(
            f"{what} {', '.join(which)}; " for what, which in (("unknown", unknown), ("missing", missing)) if which
        )
        allowed = f" and optionally {', '.join(optional)}" if optional else ""
        raise FileFormatError(f"{where}: {found}expected {', '.join(needed)}{allowed}.")


_MOST_USD = 10**9
"""Limit of a price in dollars, so that sums do not overflow; real prices are far below a thousand million an hour."""


def usd(row: Mapping[str, Any], column: str, where: str, *, zero: bool = False) -> Decimal:
    """Return an exact amount of dollars.

    Args:
        row: Row of the file.
        column: Name of the column.
        where: File and row, for messages.
        zero: True if 0 is a valid price; otherwise it is taken for a mistaken unknown price.

    Raises:
        FileFormatError: The amount is missing, not a number, negative, far too large, or 0 if that is not a price.
    """
    given = row.get(column)
    try:
        amount = Decimal(str(given))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or not 0 <= amount <= _MOST_USD or (amount == 0 and not zero):
        raise FileFormatError(
            f"{where}: {column} is {str(given)[:40]!r}, expected dollars {'of 0 or more' if zero else 'above 0'} and "
            f"at most {_MOST_USD:,}. Leave the row out if the price is not known."
        )
    return amount


def day(row: Mapping[str, Any], where: str) -> date:
    """Return the date of a row.

    Raises:
        FileFormatError: The date is not like 2026-06-30.
    """
    given = row["date"]
    try:
        return given if isinstance(given, date) else datetime.fromisoformat(str(given)).date()
    except ValueError as error:
        raise FileFormatError(f"{where}: date is {given!r}, expected one like 2026-06-30.") from error


def text(row: Mapping[str, Any], column: str, where: str) -> str:
    """Return a text that is not empty, on one line.

    Raises:
        FileFormatError: The text is empty.
    """
    value = " ".join(str(row.get(column) or "").split())
    if not value:
        raise FileFormatError(f"{where}: {column} is empty.")
    return value


_MOST_VALUES = 1_000_000
"""Limit of values after expanding aliases: a few lines of aliases of aliases can expand to billions of values."""


def read_yaml(path: Path) -> Any:
    """Return the value in a YAML file.

    Raises:
        FileFormatError: The file cannot be read, is too large, or is not YAML.
    """
    try:
        return parse_yaml(read_bytes(path).decode(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise FileFormatError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}).") from error


def parse_yaml(text: str, where: str) -> Any:
    """Return the value of a YAML text.

    Raises:
        FileFormatError: The text is not YAML, or holds too many values.
    """
    try:
        document = yaml.load(text, Loader=_Loader)
        if _num_values(document, {}) > _MOST_VALUES:
            raise FileFormatError(
                f"{where}: more than {_MOST_VALUES:,} values, aliases counted as what they stand for."
            )
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise FileFormatError(f"{where}: not YAML ({one_line(' '.join(str(error).split()))}).") from error
    return document


_MOST_MERGES = 10
"""Limit of mappings that one mapping may be merged with (`<<`): merges of merges multiply. A catalog needs one."""

_MOST_NUMBER_KEYS = 100
"""Limit of keys of one mapping that are not text: n numbers of equal hash take about n² comparisons."""


class _Loader(yaml.SafeLoader):
    """Loader that reads plain YAML in time proportional to its length."""

    num_pairs = 0

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Replace `<<` by the merged mappings, as long as they do not multiply."""
        merges = [value for key, value in node.value if key.tag == "tag:yaml.org,2002:merge"]
        if sum(len(value.value) if isinstance(value, yaml.SequenceNode) else 1 for value in merges) > _MOST_MERGES:
            raise ConstructorError(None, None, f"more than {_MOST_MERGES} mappings merged into one", node.start_mark)
        super().flatten_mapping(node)
        self.num_pairs += len(node.value)
        if self.num_pairs > _MOST_VALUES:
            raise ConstructorError(None, None, f"more than {_MOST_VALUES:,} values", node.start_mark)
        if sum(key.tag != "tag:yaml.org,2002:str" for key, _ in node.value) > _MOST_NUMBER_KEYS:
            raise ConstructorError(None, None, f"more than {_MOST_NUMBER_KEYS} keys that are no text", node.start_mark)


def _num_values(value: Any, known: dict[int, int]) -> int:
    """Count the values, with repeated ones counted each time; above the limit for a value that contains itself."""
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in known:
        known[id(value)] = _MOST_VALUES + 1  # until it is counted; if it is met again before, it contains itself
        parts = value if isinstance(value, list) else value.values()
        known[id(value)] = 1 + sum(_num_values(part, known) for part in parts)
    return known[id(value)]
