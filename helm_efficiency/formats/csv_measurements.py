"""Read and write measurements as CSV, one row per repetition or mean.

Columns: `prompt_tokens,output_tokens,batch_size,seconds`, optionally `seconds_std,num_repetitions,ttft_s`, and
`deployment,stack` in files that hold more than one profile.
"""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, TextIO

from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import EfficiencyError, FileFormatError, InputError
from helm_efficiency.files import require_size

REQUIRED = ("prompt_tokens", "output_tokens", "seconds")
_INTEGERS = ("prompt_tokens", "output_tokens", "batch_size", "num_repetitions")
_FLOATS = ("seconds", "seconds_std", "ttft_s")
_NAMES = ("deployment", "stack")
COLUMNS = ("prompt_tokens", "output_tokens", "batch_size", *_FLOATS, "num_repetitions", *_NAMES)

_MIN_VALUES_FOR_RESOLUTION = 5  # fewer numbers share a divisor by chance


def read_measurement_csv(path: Path, *, deployment: str | None = None, stack_name: str | None = None) -> list[Profile]:
    """Read a file of measurements.

    Returns:
        One profile for each deployment and stack, in the order of the file.

    Raises:
        FileFormatError: A column or a value is wrong; the message names the line and what was expected.
        InputError: Neither the file nor the caller names the deployment or the stack.
    """
    groups: dict[tuple[str, str], list[tuple[Measurement, str]]] = {}
    for number, row in read_rows(path, required=REQUIRED, known=COLUMNS):
        key = (row.get("deployment") or deployment, row.get("stack") or stack_name)
        if None in key:
            missing = "deployment" if key[0] is None else "stack"
            raise InputError(f"{path}: no column {missing!r}. Name it: --{missing} NAME")
        try:
            measurement = Measurement(**_values(row))
        except (EfficiencyError, ValueError) as error:
            raise FileFormatError(f"{path}, line {number}: {error}") from error
        groups.setdefault((str(key[0]), str(key[1])), []).append((measurement, row["seconds"]))
    if not groups:
        raise FileFormatError(f"{path}: no rows, expected at least one measurement.")
    try:
        return [
            Profile(
                deployment=its_deployment,
                stack=Stack(name=its_stack, accelerator=accelerator_of(its_stack)),
                measurements=tuple(measurement for measurement, _ in rows),
                resolution_s=resolution_s([text for _, text in rows]),
                source=f"CSV {path.name}",
            )
            for (its_deployment, its_stack), rows in groups.items()
        ]
    except InputError as error:
        raise FileFormatError(f"{path}: {error}") from error


def read_rows(path: Path, *, required: Iterable[str], known: Sequence[str]) -> list[tuple[int, dict[str, str]]]:
    """Read the rows of a CSV file with a header, each with its line number.

    Raises:
        FileFormatError: The file cannot be read, lacks a column, has an unknown one, or has a row that is too short or
            long.
    """
    try:
        require_size(path)
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            missing = [column for column in required if column not in columns]
            unknown = [column for column in columns if column not in known]
            if missing or unknown or len(set(columns)) < len(columns):
                raise FileFormatError(
                    f"{path}, line 1: given columns {','.join(columns) or 'none'}; expected {','.join(required)} and, "
                    f"optionally, {','.join(column for column in known if column not in required)}."
                )
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise FileFormatError(f"{path}, line {reader.line_num}: expected {len(columns)} values.")
                rows.append((reader.line_num, {column: value.strip() for column, value in row.items()}))
            return rows
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise FileFormatError(f"{path}: not a CSV text file ({error}).") from error


def _values(row: Mapping[str, str]) -> dict[str, Any]:
    """Return the values of a measurement; empty cells of optional columns are left out."""
    values: dict[str, Any] = {}
    for kind, names, expected in ((int, _INTEGERS, "a whole number"), (float, _FLOATS, "a number of seconds")):
        for name in names:
            text = row.get(name, "")
            if not text and name not in REQUIRED:
                continue
            try:
                values[name] = kind(text)
            except ValueError as error:
                raise ValueError(f"{name} is {text!r}, expected {expected}.") from error
    return values


def resolution_s(texts: Sequence[str]) -> float:
    """Return the step (s) that written numbers were rounded to: their greatest common divisor.

    This distinguishes seconds rounded to 3 ms but written with six decimals from seconds measured to the microsecond. A
    few numbers can have a common divisor by chance; for these the last written digit counts.

    >>> resolution_s(["0.021000", "0.063000", "0.105000", "0.126000", "0.210000", "0.033000"])
    0.003
    >>> resolution_s(["0.5", "1.0"])
    0.1
    """
    try:
        numbers = [Decimal(text) for text in set(texts)]
    except InvalidOperation:
        return 0.0
    exponent = min((int(number.as_tuple().exponent) for number in numbers), default=0)
    digit = Decimal(1).scaleb(exponent)
    if len(numbers) < _MIN_VALUES_FOR_RESOLUTION:
        return float(digit)
    return float(math.gcd(*(int(number / digit) for number in numbers)) * digit)


def write_measurement_csv(profiles: Iterable[Profile], file: TextIO) -> None:
    """Write profiles so that `read_measurement_csv` reads equal measurements back."""
    writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for profile in profiles:
        names = {"deployment": profile.deployment, "stack": profile.stack.name}
        for measurement in profile.measurements:
            writer.writerow({name: getattr(measurement, name) for name in COLUMNS if name not in names} | names)
