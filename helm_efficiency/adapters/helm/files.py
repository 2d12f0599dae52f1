"""Open and decode the files of one local or remote HELM run folder, in parts that fit memory."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from msgspec.json import Decoder

from helm_efficiency.adapters.helm import format as fmt
from helm_efficiency.adapters.json_stream import Part, decode, last_part, list_parts, read_whole
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.files import require_size

RUN_SPEC, SCENARIO_STATE = "run_spec.json", "scenario_state.json"
PER_INSTANCE_STATS, STATS = "per_instance_stats.json", "stats.json"

REQUEST_STATES = "request_states"
"""Key of the list of requests in `scenario_state.json`."""

Entry = TypeVar("Entry")

OpenFile = Callable[[str], BinaryIO]
"""Function that opens the file at a path to read its bytes; raises FileNotFoundError if it is missing, else OSError."""


def open_local(path: str) -> BinaryIO:
    """Open a file on this machine.

    Raises:
        FileFormatError: The file is a pipe or a device.
        OSError: The file cannot be opened.
    """
    require_size(path, most_bytes=sys.maxsize)  # read in parts
    return Path(path).open("rb", buffering=0)


class RunFiles(NamedTuple):
    """The files of one run.

    Attributes:
        folder: Path or address of the folder.
        open: Function that opens one of the files.
    """

    folder: str
    open: OpenFile

    @property
    def place(self) -> tuple[str, str]:
        """Names of the parent folder and of the run folder itself."""
        whole = self.folder if "://" in self.folder else os.path.abspath(self.folder)  # noqa: PTH100 (Path keeps `..`)
        *_, around, own = ["", *whole.replace(os.sep, "/").split("/")]
        return around, own

    def spec(self) -> fmt.RunSpec | None:
        """Read `run_spec.json`; return None if the file is missing."""
        opened = self._opened(RUN_SPEC)
        if opened is None:
            return None
        file = f"{self.folder}/{RUN_SPEC}"
        with opened:
            return decode(read_whole(opened, file=file), fmt.RUN_SPEC, file=file)

    def states(self) -> Iterator[fmt.ScenarioState] | None:
        """Read `scenario_state.json` in parts, the last with the adapter's spec; None if the file is missing."""
        opened = self._opened(SCENARIO_STATE)
        return None if opened is None else _decoded_states(opened, file=f"{self.folder}/{SCENARIO_STATE}")

    def stats(self) -> Iterator[list[fmt.PerInstanceStats]] | None:
        """Read `per_instance_stats.json` in parts; None if the file is missing."""
        return self.stats_as(fmt.PER_INSTANCE_STATS)

    def stats_as(self, decoder: Decoder[list[Entry]]) -> Iterator[list[Entry]] | None:
        """Read `per_instance_stats.json` in parts with the given decoder; None if the file is missing."""
        opened = self._opened(PER_INSTANCE_STATS)
        return None if opened is None else _decoded_stats(opened, decoder, file=f"{self.folder}/{PER_INSTANCE_STATS}")

    def _opened(self, name: str) -> BinaryIO | None:
        file = f"{self.folder}/{name}"
        try:
            return self.open(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or error}.") from error


def _decoded_states(opened: BinaryIO, *, file: str) -> Iterator[fmt.ScenarioState]:
    with opened:
        for part in list_parts(opened, file=file, key=REQUEST_STATES):
            try:
                states = _states_of(part, file=file)
            except FileFormatError as error:
                if part.is_last:
                    raise
                yield _last_states(opened, part, error, file=file)
                return
            yield states


def _states_of(part: Part, *, file: str) -> fmt.ScenarioState:
    if part.is_last:
        return decode(part.text, fmt.SCENARIO_STATE, file=_place(part, file))
    return fmt.ScenarioState(decode(part.text, fmt.REQUEST_STATES, file=_place(part, file)))


def _last_states(opened: BinaryIO, part: Part, error: FileFormatError, *, file: str) -> fmt.ScenarioState:
    """Return the states from a part on that could not be decoded, perhaps because the list ends in it."""
    try:
        last = last_part(opened, part, file=file, key=REQUEST_STATES)
    except FileFormatError:
        raise error from None
    return _states_of(last, file=file)


def _decoded_stats(opened: BinaryIO, decoder: Decoder[list[Entry]], *, file: str) -> Iterator[list[Entry]]:
    with opened:
        for part in list_parts(opened, file=file):
            yield decode(part.text, decoder, file=_place(part, file))


def _place(part: Part, file: str) -> str:
    return f"{file}, from byte {part.start}" if part.start else file
