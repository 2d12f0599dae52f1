"""Put efficiency stats into HELM's stat files: replace old ones, never double or lose any, and keep all other bytes.

A stat is cut out if we wrote it earlier, or if one of ours has the same name, split and perturbation. HELM's count is
kept if we have none for it. Such stats are found by the way HELM begins a stat, so that nothing else needs to be
decoded; new ones are added at the end, as in a live run.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import BinaryIO

import msgspec
from msgspec import Raw, Struct

from helm_efficiency.adapters.helm.instance_stats import PROVENANCE_PREFIXES
from helm_efficiency.adapters.json_stream import decode, list_parts
from helm_efficiency.errors import FileFormatError
from helm_efficiency.helm_stats.aggregate import MetricName, Stat
from helm_efficiency.helm_stats.stats import STATS, is_own_stat


class _Stat(Struct, gc=False):
    name: Raw


class _Entry(Struct):
    stats: list[Raw]


_STAT = msgspec.json.Decoder(_Stat)
_STATS = msgspec.json.Decoder(list[_Stat])
_NAME = msgspec.json.Decoder(MetricName)
_ENTRY = msgspec.json.Decoder(_Entry)
_ELEMENTS = msgspec.json.Decoder(list[Raw])

_OUR_STAT = re.compile(
    rb'\{\s*"name"\s*:\s*\{\s*"name"\s*:\s*"(?:' + "|".join([*STATS, *PROVENANCE_PREFIXES]).encode() + b")"
)
"""Beginning of a stat that may be ours. A JSON string cannot contain it, as the quotes would be escaped."""
_SEPARATOR = re.compile(rb"\s*,\s*")
_START_OF_ARRAY = re.compile(rb"\s*\[")
_END_OF_ARRAY = re.compile(rb"\s*\]\s*\Z")
_EMPTY_LIST = re.compile(rb"\[\s*\]")
_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"|NaN|Infinity', re.DOTALL)


class Replaced:
    """Set of the stats of a file that are cut out: those that we wrote earlier, and those that one of ours replaces."""

    def __init__(self, added: Iterable[Stat]) -> None:
        self._added = {_key(stat.name) for stat in added}
        self._known: dict[bytes, bool] = {}

    def __contains__(self, name: Raw) -> bool:
        """Return whether a stat is cut out, given its name as JSON; the file repeats a name for each instance."""
        text = bytes(name)
        known = self._known.get(text)
        if known is None:
            decoded = _NAME.decode(text)
            known = self._known[text] = is_own_stat(decoded.name) or _key(decoded) in self._added
        return known


def _key(name: MetricName) -> bytes:
    """Return a name as bytes that do not depend on the order of its keys."""
    return msgspec.json.encode(name, order="sorted")


def rewrite_stats(data: bytes, added: Sequence[Stat], *, file: str) -> bytes:
    """Return `stats.json` with our stats at its end and none of theirs that ours replace.

    Everything that is kept is decoded once, so that a damaged file is refused rather than passed on.

    Args:
        data: Content of the file.
        added: Our aggregated stats.
        file: Its path, for messages.

    Raises:
        FileFormatError: The file is not a list of stats.
    """
    find_replaced = partial(_replaced_spans, replaced=Replaced(added))
    kept = _without(data, find_replaced, file=file)
    decode(kept, _STATS, file=file)
    return _with_added(kept, added, file=file)


def rewrite_per_instance_stats(
    source: BinaryIO, target: BinaryIO, added: Iterable[Struct], *, replaced: Replaced, file: str
) -> None:
    """Write `per_instance_stats.json` with our entries at its end and none of theirs that ours replace.

    An entry that has no other stats is left out, as a live run does. Memory holds a part of the file at a time.

    Args:
        source: Original file.
        target: File to write to.
        added: Our stats, one entry per unit.
        replaced: Stats that are cut out: the same as in `stats.json`, so that its means still match the instances.
        file: Its path, for messages.

    Raises:
        FileFormatError: The file is not a list of per-instance stats.
    """
    before = b"["
    find_replaced = partial(_replaced_spans, replaced=replaced)
    for part in list_parts(source, file=file):
        kept = _without(part.text, find_replaced, file=file)
        if _EMPTY_LIST.search(kept):
            kept = _without(kept, _spans_of_empty_entries, file=file)
        start, end = _within_list(kept, file=file)
        if start < end:
            target.writelines([before, memoryview(kept)[start:end]])
            before = b","
    for entry in added:
        # End each entry as HELM's own entries end, so that the file can be divided into parts again.
        target.writelines([before, b"\n  ", memoryview(msgspec.json.encode(entry))[:-1], b"\n  }"])
        before = b","
    target.write(b"\n]" if before == b"," else b"[]")


_Spans = list[tuple[int, int]]
"""Begin and end of each span to cut, in order."""


def _without(data: bytes, find_spans: Callable[[bytes], _Spans], *, file: str) -> bytes:
    """Return the data without the spans that are found in it; text that is not UTF-8 is refused."""
    try:
        if not data.isascii():
            str(data, "utf-8")  # msgspec does not check the text that it skips
        try:
            spans = find_spans(data)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # Python writes NaN and Infinity, which JSON does not have
            spans = find_spans(_NOT_JSON.sub(_mask, data))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FileFormatError(f"{file}: {error}.") from error
    view = memoryview(data)
    ends = [0, *(end for _, end in spans)]
    starts = [*(start for start, _ in spans), len(data)]
    return b"".join([view[end:start] for end, start in zip(ends, starts, strict=True)])


def _mask(match: re.Match[bytes]) -> bytes:
    """Replace NaN and Infinity by a number of the same length."""
    return match[0] if match[0].startswith(b'"') else b"1" * len(match[0])


def _replaced_spans(data: bytes, *, replaced: Replaced) -> _Spans:
    """Find the stats that are cut out.

    Raises:
        msgspec.DecodeError: A stat does not end.
    """
    spans: _Spans = []
    for match in _OUR_STAT.finditer(data):
        end, stat = _decode_at(data, match.start(), match.end())
        if stat.name in replaced:
            _add_element(spans, data, match.start(), end)
    return spans


def _spans_of_empty_entries(data: bytes) -> _Spans:
    """Find the entries without stats.

    Raises:
        msgspec.DecodeError: The data are not a list of per-instance stats.
    """
    spans: _Spans = []
    place = 0
    for entry in _ELEMENTS.decode(data):
        start = data.index(raw := bytes(entry), place)
        place = start + len(raw)
        if not _ENTRY.decode(entry).stats:
            _add_element(spans, data, start, place)
    return spans


def _add_element(spans: _Spans, data: bytes, start: int, end: int) -> None:
    """Add an element of an array to the spans to cut, with one adjacent comma."""
    if spans and spans[-1][1] == start:
        start, _ = spans.pop()
    if separator := _SEPARATOR.match(data, end):
        end = separator.end()
    else:
        start = _before_comma(data, start, spans[-1][1] if spans else 0)
    spans.append((start, end))


def _decode_at(data: bytes, start: int, after: int) -> tuple[int, _Stat]:
    """Return the end and content of the stat at `start`: an object ends at the first brace that makes it complete.

    Args:
        data: JSON text.
        start: Index of the stat's opening brace.
        after: Index within its name.
    """
    end = data.find(b"}", after) + 1  # of the name
    while True:
        end = data.find(b"}", end) + 1
        try:
            return end, _STAT.decode(data[start:end])
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            if not end or end - start > _LONGEST_STAT:
                raise


_LONGEST_STAT = 10_000
"""Length limit of a stat in bytes; a longer object is not a stat."""


def _before_comma(data: bytes, start: int, kept_until: int) -> int:
    """Return the index of the comma before `start`, if it lies in the kept part; else `start`."""
    end = start
    while end > kept_until and data[end - 1 : end].isspace():
        end -= 1
    return end - 1 if end > kept_until and data[end - 1 : end] == b"," else start


def _with_added(kept: bytes, added: Sequence[Struct], *, file: str) -> bytes:
    start, end = _within_list(kept, file=file)
    if not added:
        return kept
    lines = b",\n".join([msgspec.json.encode(element) for element in added])
    return b"".join([memoryview(kept)[:end], b",\n" if start < end else b"\n", lines, b"\n]"])


def _within_list(data: bytes, *, file: str) -> tuple[int, int]:
    """Return the indices at which the elements of a list begin and end, with spaces; equal if the list is empty."""
    opening = _START_OF_ARRAY.match(data)
    ending = _END_OF_ARRAY.search(data, max(len(data) - 100, 0))
    if opening is None or ending is None:
        raise FileFormatError(f"{file}: expected a list.")
    return opening.end(), ending.start()
