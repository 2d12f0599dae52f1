"""Read the provider's usage, which HELM drops, from HELM's request caches and match it to a run's requests.

HELM keeps the raw response to every request, with its duration and date, in `prod_env/cache/<host>.sqlite` (or
MongoDB). A run's `scenario_state.json` repeats both numbers exactly, so they find the response whatever request format
its client wrote. If they do not decide (two equal times, clocks of whole milliseconds, times so short that two are
equal by chance), the cached request must also contain the prompt.

The values are pickles, often from untrusted files: see `safe_pickle`. A refused value is reported and skipped.

Memory: some hundred bytes for each cached response with usage.
"""

import json
import re
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, Self

from msgspec import Struct

from helm_efficiency.adapters.helm import pickle_reader as safe_pickle
from helm_efficiency.adapters.helm.usage import extract_usage
from helm_efficiency.adapters.token_counts import Usage
from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.sqlite_files import connect, reason_of, require_plain_tables

_PER_COMPLETION_KEYS = ("completion_index", "random_seed")
"""Keys that differ between the requests that a client makes for each completion, if its API makes one at a time."""

_MAX_PROBLEMS = 100

_MAY_COINCIDE_S = 0.1
"""Times below this may coincide: clocks resolve a quarter of a microsecond, so requests of a few milliseconds do."""


class _Source(Protocol):
    """Storage of cached requests."""

    def request_text(self, row: int) -> str:
        """Return the cached request of a row, as JSON."""
        ...


class _Response(Struct, frozen=True):
    """Cached response with usage, the date and location of its request, and the key of related responses."""

    usage: Usage
    requested_at: float | None
    row: int
    source: Any
    family: bytes | None


class RequestCaches:
    """Usage from any number of caches.

    Attributes:
        num_responses: Number of responses with usage.
        problems: Messages about entries that could not be read, one line each.
    """

    def __init__(self) -> None:
        self.num_responses = 0
        self.problems: list[str] = []
        self._by_seconds: dict[float, list[_Response]] = {}
        self._families: dict[bytes, list[Usage]] = {}

    @classmethod
    def of(cls, places: Iterable[Path | str]) -> Self:
        """Read the caches of several folders and files.

        Args:
            places: Folders of `*.sqlite`, or such files.

        Raises:
            InputError: A folder or file does not exist, or a folder has no cache.
            FileFormatError: A file is not a cache of HELM's.

        Example:
            >>> RequestCaches.of([]).num_responses
            0
        """
        caches = cls()
        for place in places:
            if Path(place).is_file():
                caches.add_sqlite(place)
            else:
                caches.add_folder(place)
        return caches

    def add_folder(self, folder: Path | str) -> None:
        """Read every `*.sqlite` of a folder; one that cannot be read is reported in `problems`.

        Raises:
            InputError: The folder does not exist, or has no cache.
        """
        files = sorted(Path(folder).glob("*.sqlite"))
        if not files:
            raise InputError(f"{folder}: no *.sqlite in it; expected HELM's cache folder, such as prod_env/cache.")
        for file in files:
            try:
                self.add_sqlite(file)
            except InputError as error:
                self._report(str(error))

    def add_sqlite(self, file: Path | str, *, only: Collection[float] | None = None) -> None:
        """Read one cache file.

        Args:
            file: Path of the file.
            only: The request times that are wanted; other responses are skipped before they are unpickled.

        Raises:
            InputError: The file does not exist.
            FileFormatError: The file is not a cache of HELM's.
        """
        if not Path(file).is_file():
            raise InputError(f"{file}: there is no such file; expected a request cache of HELM's.")
        try:
            source = _Sqlite(file)
            for row, key, value in source.rows():
                if isinstance(value, bytes) and isinstance(key, str) and _is_wanted(value, only):
                    self._add_pickle(row, key, value, source)
        except sqlite3.Error as error:
            raise FileFormatError(f"{file}: not a request cache of HELM's ({reason_of(error)}).") from error

    def add_pairs(self, pairs: Iterable[tuple[Mapping[str, Any], Mapping[str, Any]]]) -> None:
        """Add requests and responses that are plain containers already."""
        source = _Kept()
        for request, response in pairs:
            if "request_time" in response or "metrics" in response:  # else it is a tokenizer's
                source.texts.append(json.dumps(request, sort_keys=True))
                self._add(len(source.texts) - 1, source.texts[-1], response, source)

    def find(self, state: Any) -> Usage | None:
        """Return the provider's usage for a request state; None unless exactly one cached response matches it."""
        result = state.result
        if result is None or result.request_time is None:
            return None
        at = result.request_datetime
        found = [
            response
            for response in self._by_seconds.get(float(result.request_time), ())
            if at is None or response.requested_at is None or at == response.requested_at
        ]
        seconds = result.request_time
        if len(found) > 1 or round(seconds, 3) == seconds or seconds < _MAY_COINCIDE_S:
            prompt = _prompt_as_json(state.request)
            found = [response for response in found if prompt in response.source.request_text(response.row)]
        if not found or any(response.usage != found[0].usage for response in found):
            return None
        return self._of_family(found[0], state.request.num_completions)

    def _of_family(self, response: _Response, num_completions: int) -> Usage:
        """Add up the usage of all completions if the client requested each by itself. The prompt is counted once."""
        if num_completions == 1 or response.family is None:
            return response.usage
        outputs = [usage.output_tokens for usage in self._families[response.family]]
        counts = [count for count in outputs if count is not None]
        if len(counts) != num_completions:
            return Usage(prompt_tokens=response.usage.prompt_tokens)
        return Usage(
            prompt_tokens=response.usage.prompt_tokens, output_tokens=sum(counts), max_completion_tokens=max(counts)
        )

    def _add_pickle(self, row: int, key: str, value: bytes, source: "_Sqlite") -> None:
        try:
            response = safe_pickle.loads(value)
        except safe_pickle.UnsafePickleError as error:
            self._report(f"{source.file}, row {row}: skipped, {error}")
            return
        if isinstance(response, dict):
            self._add(row, key, response, source)

    def _add(self, row: int, key: str, response: Mapping[str, Any], source: _Source) -> None:
        usage = extract_usage(response)
        if usage is None:
            return
        self.num_responses += 1
        family = _family(key)
        if family is not None:
            self._families.setdefault(family, []).append(usage)
        at = response.get("request_datetime")
        kept = _Response(usage, at if isinstance(at, int | float) else None, row, source, family)
        for seconds in _request_times(response):
            self._by_seconds.setdefault(seconds, []).append(kept)

    def _report(self, problem: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)
        elif len(self.problems) == _MAX_PROBLEMS:
            self.problems.append("… and more; only the first are listed")


_PICKLED_REQUEST_TIME = re.compile(rb"request_time[\x94q]?.{0,5}?G(.{8})", re.DOTALL)


def _is_wanted(value: bytes, only: Collection[float] | None) -> bool:
    """Return whether a pickled response may have usage: tokenizers keep their caches in the same files."""
    if b"request_time" not in value:
        return b"latencyMs" in value
    if only is None:
        return True
    times = _PICKLED_REQUEST_TIME.findall(value)
    return not times or any(struct.unpack(">d", seconds)[0] in only for seconds in times) or b"raw_comp" in value


def _request_times(response: Mapping[str, Any]) -> Iterator[float]:
    """Yield the times that HELM's clients may report as `request_time`, in seconds."""
    metrics = response.get("metrics")
    latency_ms = metrics.get("latencyMs") if isinstance(metrics, Mapping) else None
    in_seconds = [response.get("request_time"), response.get("raw_compute_time")]
    if isinstance(latency_ms, int | float) and abs(latency_ms) < 2**53:
        in_seconds.append(latency_ms / 1000)
    yield from {float(seconds) for seconds in in_seconds if isinstance(seconds, int | float) and abs(seconds) < 2**53}


def _family(key: str) -> bytes | None:
    """Return the key that a request shares with those for the other completions; None if one request asks for all."""
    if not any(f'"{name}"' in key for name in _PER_COMPLETION_KEYS):
        return None
    try:
        request = json.loads(key)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    for name in _PER_COMPLETION_KEYS:
        request.pop(name, None)
    return blake2b(json.dumps(request, sort_keys=True).encode(), digest_size=16).digest()


def _prompt_as_json(request: Any) -> str:
    """Return the last message to the model, as it is written in a request's JSON."""
    text = request.prompt or ""
    if not text and request.messages:
        content = request.messages[-1].get("content")
        text = content if isinstance(content, str) else ""
    if not text and request.multimodal_prompt is not None:
        text = max((part.text or "" for part in request.multimodal_prompt.media_objects), key=len, default="")
    return json.dumps(text.strip())[1:-1]


class _Sqlite:
    """Cache file, opened for reading only."""

    def __init__(self, file: Path | str) -> None:
        self.file = str(file)
        self._connection = connect(file)
        self._connection.text_factory = partial(str, encoding="utf-8", errors="replace")
        require_plain_tables(self._connection, ["unnamed"])

    def rows(self) -> Iterator[tuple[int, str, object]]:
        yield from self._connection.execute("SELECT rowid, key, value FROM unnamed")

    def request_text(self, row: int) -> str:
        found = self._connection.execute("SELECT key FROM unnamed WHERE rowid = ?", (row,)).fetchone()
        return str(found[0]) if found else ""


class _Kept:
    """Requests kept in memory."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def request_text(self, row: int) -> str:
        return self.texts[row]
