"""Read measurements from any file that a user names: the kind is detected from the content, not from the name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from helm_efficiency import codec
from helm_efficiency.catalog.device_names import accelerator_of
from helm_efficiency.core.measurement import Profile, Stack
from helm_efficiency.errors import EfficiencyError, FileFormatError
from helm_efficiency.files import read_bytes, require_size
from helm_efficiency.formats.csv_measurements import REQUIRED, read_measurement_csv
from helm_efficiency.formats.megatron import read_megatron_log
from helm_efficiency.formats.splitwise import COLUMNS, read_splitwise_csv

_SNIFFED_CHARACTERS = 4096


def read_profiles(path: Path, *, deployment: str | None = None, stack_name: str | None = None) -> list[Profile]:
    """Read a CSV of measurements, a Megatron log of the paper, a Splitwise table, or profiles written as JSON.

    A given deployment or stack name replaces that in the file.

    Raises:
        FileFormatError: The file is of another kind, or damaged; the message names the line and what was expected.
        InputError: Deployment or stack are not known.
    """
    head = _head(path)
    first_line = head.lstrip("\ufeff").partition("\n")[0].strip()
    if head.lstrip().startswith(("{", "[")):
        profiles = profiles_from_json(path, load_json(path))
    elif first_line.split(",") == list(COLUMNS):
        profiles = read_splitwise_csv(path)
    elif "," in first_line and set(first_line.split(",")) & set(REQUIRED):
        profiles = read_measurement_csv(path, deployment=deployment, stack_name=stack_name)
    elif path.suffix.lower() in (".csv", ".json"):
        raise FileFormatError(
            f"{path}, line 1: {first_line[:80]!r}; expected measurements as CSV ({','.join(REQUIRED)},…) or as JSON."
        )
    else:
        return [read_megatron_log(path, deployment=deployment, stack_name=stack_name)]
    return [_renamed(profile, deployment, stack_name) for profile in profiles]


def profiles_from_json(path: Path, data: Any) -> list[Profile]:
    """Return profiles written by `export`: one, a list, or an object with a list called `profiles`.

    Raises:
        FileFormatError: The value has another form; the message names the profile.
    """
    if isinstance(data, dict) and "profiles" in data:
        data = data["profiles"]
    items = data if isinstance(data, list) else [data]
    profiles = []
    for index, item in enumerate(items):
        if not isinstance(item, dict):
            raise FileFormatError(f"{path}: profile {index} is {type(item).__name__}, expected a JSON object.")
        try:
            profiles.append(codec.from_plain(item, Profile))
        except EfficiencyError as error:
            raise FileFormatError(f"{path}: profile {index}: {error}") from error
    return profiles


def load_json(path: Path) -> Any:
    """Read the JSON value in a file.

    Raises:
        FileFormatError: The file cannot be read, or is not JSON; the message names the line.
    """
    try:
        return json.loads(read_bytes(path).decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise FileFormatError(f"{path}, line {error.lineno}: not JSON ({error.msg}).") from error
    except RecursionError as error:
        raise FileFormatError(f"{path}: nested too deeply to be one of ours.") from error
    except UnicodeDecodeError as error:
        raise FileFormatError(f"{path}: not a text file ({error.reason}).") from error
    except ValueError as error:  # a number of thousands of digits
        raise FileFormatError(f"{path}: {error}.") from error
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}.") from error


def _head(path: Path) -> str:
    try:
        require_size(path)
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(_SNIFFED_CHARACTERS)
    except OSError as error:
        raise FileFormatError(f"{path}: {error.strerror}.") from error


def _renamed(profile: Profile, deployment: str | None, stack_name: str | None) -> Profile:
    stack: Stack = profile.stack
    if stack_name is not None and stack_name != stack.name:
        stack = replace(stack, name=stack_name, accelerator=accelerator_of(stack_name))
    return replace(profile, deployment=deployment or profile.deployment, stack=stack)
