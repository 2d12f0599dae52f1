"""Read the lengths of the requests that commands are asked about: from a CSV, or from a folder of runs."""

from pathlib import Path

from helm_efficiency.errors import FileFormatError, InputError

_MOST_DIGITS = 15
"""Largest number of digits of a token count; Python refuses to read thousands of digits."""


def read_requests(path: Path) -> tuple[list[int], list[int]]:
    """Return the prompt and output tokens of each row of a CSV.

    Raises:
        FileFormatError: A column is missing, a value is not a count, or the file has no rows.
    """
    from helm_efficiency.formats.csv_measurements import read_rows

    columns = ("prompt_tokens", "output_tokens")
    counts: tuple[list[int], list[int]] = ([], [])
    for number, row in read_rows(path, required=columns, known=columns):
        for column, values in zip(columns, counts, strict=True):
            if not row[column].isdecimal() or len(row[column]) > _MOST_DIGITS:
                raise FileFormatError(
                    f"{path}, line {number}: {column} is {row[column][:30]!r}, expected a whole number, 0 or more."
                )
            values.append(int(row[column]))
    if not counts[0]:
        raise FileFormatError(f"{path}: no rows, expected at least one request.")
    return counts


def read_lengths(path: Path) -> tuple[list[int], list[int]]:
    """Return the prompt and output tokens of each request of a CSV, or of the runs in a folder.

    Raises:
        InputError: Not a single request has both counts.
    """
    if not path.is_dir():
        return read_requests(path)
    from helm_efficiency.adapters.sources import read_runs

    prompt_tokens, output_tokens = [], []
    for run in read_runs([path]):
        for record in run.records:
            if record.prompt_tokens and record.output_tokens:
                prompt_tokens.append(record.prompt_tokens)
                output_tokens.append(record.output_tokens)
    if not prompt_tokens:
        raise InputError(f"{path}: no request in it has both its prompt and its output tokens.")
    return prompt_tokens, output_tokens
