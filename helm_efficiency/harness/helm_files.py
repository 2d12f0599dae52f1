"""The files of one HELM run folder, decoded in parts that fit memory, wherever the folder is."""

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from helm_efficiency.errors import InputError
from helm_efficiency.files import require_size
from helm_efficiency.harness import helm_format as fmt
from helm_efficiency.harness.json_files import decode
from helm_efficiency.harness.json_parts import list_parts

RUN_SPEC, SCENARIO_STATE = "run_spec.json", "scenario_state.json"
PER_INSTANCE_STATS, STATS = "per_instance_stats.json", "stats.json"

REQUEST_STATES = "request_states"
"""The key of the list of requests in `scenario_state.json`."""

OpenFile = Callable[[str], BinaryIO]
"""Opens one file, given its path, to read its bytes; raises FileNotFoundError where there is none, else OSError."""

T = TypeVar("T")


def open_local(path: str) -> BinaryIO:
    """A file on this machine.

    Raises:
        FileFormatError: It is a pipe or a device.
        OSError: It cannot be opened.
    """
    require_size(path, most_bytes=sys.maxsize)  # read in parts
    return Path(path).open("rb", buffering=0)


class RunFiles(NamedTuple):
    """The files of one run.

    Attributes:
        folder: Its path or address.
        open: Opens one of them.
    """

    folder: str
    open: OpenFile

    @property
    def place(self) -> tuple[str, str]:
        """Names of the folder around it, and its own."""
        whole = self.folder if "://" in self.folder else os.path.abspath(self.folder)  # noqa: PTH100 (Path keeps `..`)
        *_, around, own = ["", *whole.replace(os.sep, "/").split("/")]
        return around, own

    def spec(self) -> fmt.RunSpec | None:
        """`run_spec.json`, if there is one."""
        return next(self._decoded(RUN_SPEC, fmt.RUN_SPEC) or iter(()), None)

    def states(self) -> Iterator[fmt.ScenarioState]:
        """`scenario_state.json` in parts, of which the last has the adapter's spec.

        Raises:
            InputError: There is none.
        """
        parts = self._decoded(SCENARIO_STATE, fmt.SCENARIO_STATE, key=REQUEST_STATES)
        if parts is None:
            raise InputError(f"{self.folder}/{SCENARIO_STATE}: not there, so the run has no requests to read.")
        return parts

    def stats(self) -> Iterator[list[fmt.PerInstanceStats]] | None:
        """`per_instance_stats.json` in parts, if there is one."""
        return self._decoded(PER_INSTANCE_STATS, fmt.PER_INSTANCE_STATS)

    def _decoded(self, name: str, decoder: msgspec.json.Decoder[T], *, key: str | None = None) -> Iterator[T] | None:
        file = f"{self.folder}/{name}"
        try:
            opened = self.open(file)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise InputError(f"{file}: {error.strerror or error}.") from error
        return _decoded_parts(opened, decoder, file=file, key=key)


def _decoded_parts(opened: BinaryIO, decoder: msgspec.json.Decoder[T], *, file: str, key: str | None) -> Iterator[T]:
    with opened:
        for part in list_parts(opened, file=file, key=key):
            place = f"{file}, from byte {part.start}" if part.start else file
            yield decode(part.text, decoder, file=place)
