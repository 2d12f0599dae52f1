"""HELM's request caches: the provider's usage, which HELM drops, matched to a run's requests.

HELM keeps the raw response to every request in `prod_env/cache/<host>.sqlite` (or MongoDB), and in it how long the
request took and when. A run's `scenario_state.json` repeats both numbers exactly, so they find the response whatever
request format its client wrote. Where they do not decide (two equal times, clocks of whole milliseconds, times so
short that two are equal by chance) the prompt must stand in the cached request too.

The values are pickles, often from strangers: see `safe_pickle`. A value that is refused is reported and skipped.
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
"""What tells apart the requests that a client makes for each completion, where its API makes one at a time."""

_MAX_PROBLEMS = 100

_MAY_COINCIDE_S = 0.1
"""Clocks tell times a quarter of a microsecond apart: requests of a few milliseconds do coincide."""


class _Source(Protocol):
    """Where cached requests are kept."""

    def request_text(self, row: int) -> str:
        """The cached request of a row, as JSON."""
        ...


class _Response(Struct, frozen=True):
    """A cached response with usage: when it was asked for, where its request is, and which others belong to it."""

    usage: Usage
    requested_at: float | None
    row: int
    source: Any
    family: bytes | None


class RequestCaches:
    """Usage out of any number of caches.

    Attributes:
        num_responses: Responses with usage.
        problems: What could not be read, one line each.
    """

    def __init__(self) -> None:
        self.num_responses = 0
        self.problems: list[str] = []
        self._by_seconds: dict[float, list[_Response]] = {}
        self._families: dict[bytes, list[Usage]] = {}

    @classmethod
    def of(cls, places: Iterable[Path | str]) -> Self:
        """Those of several folders and files.

        Args:
            places: Folders of `*.sqlite`, or such files.

        Raises:
            InputError: There is no such place, or no cache in a folder.
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
            InputError: There is no such folder, or no cache in it.
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
            InputError: There is no such file.
            FileFormatError: It is not a cache of HELM's.
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
        """Read requests and responses that are plain containers already."""
        source = _Kept()
        for request, response in pairs:
            if "request_time" in response or "metrics" in response:  # else it is a tokenizer's
                source.texts.append(json.dumps(request, sort_keys=True))
                self._add(len(source.texts) - 1, source.texts[-1], response, source)

    def find(self, state: Any) -> Usage | None:
        """The provider's usage for a request state; None if no cached response, or more than one, may be its own."""
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
        """Usage over all completions, where the client asked for each by itself. The prompt is counted once."""
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
    """Whether a pickled response may be one with usage: tokenizers keep their caches in the same files."""
    if b"request_time" not in value:
        return b"latencyMs" in value
    if only is None:
        return True
    times = _PICKLED_REQUEST_TIME.findall(value)
    return not times or any(struct.unpack(">d", seconds)[0] in only for seconds in times) or b"raw_comp" in value


def _request_times(response: Mapping[str, Any]) -> Iterator[float]:
    """What HELM's clients may report as `request_time`, in seconds."""
    metrics = response.get("metrics")
    latency_ms = metrics.get("latencyMs") if isinstance(metrics, Mapping) else None
    in_seconds = [response.get("request_time"), response.get("raw_compute_time")]
    if isinstance(latency_ms, int | float) and abs(latency_ms) < 2**53:
        in_seconds.append(latency_ms / 1000)
    yield from {float(seconds) for seconds in in_seconds if isinstance(seconds, int | float) and abs(seconds) < 2**53}


def _family(key: str) -> bytes | None:
    """What a request has in common with those for the other completions; None where one request asks for all."""
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
    """The last that was said to the model, as it stands inside a request's JSON."""
    text = request.prompt or ""
    if not text and request.messages:
        content = request.messages[-1].get("content")
        text = content if isinstance(content, str) else ""
    if not text and request.multimodal_prompt is not None:
        text = max((part.text or "" for part in request.multimodal_prompt.media_objects), key=len, default="")
    return json.dumps(text.strip())[1:-1]


class _Sqlite:
    """A cache file, opened for reading only."""

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
