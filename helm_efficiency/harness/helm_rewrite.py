"""Efficiency stats put into HELM's stat files: names replaced, never doubled, all other bytes kept as they are."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from helm_efficiency.errors import FileFormatError
from helm_efficiency.harness.helm_stats import PROVENANCE_PREFIXES, STATS, is_efficiency_stat


class _Name(Struct, gc=False):
    name: str


class _Stat(Struct, gc=False):
    name: _Name


class _Entry(Struct):
    stats: list[Raw]


_STAT = msgspec.json.Decoder(_Stat)
_ELEMENTS = msgspec.json.Decoder(list[Raw])
_ENTRIES = msgspec.json.Decoder(list[_Entry])

_IS_THEIRS = re.compile(
    rb'\s*\{\s*"name"\s*:\s*\{\s*"name"\s*:\s*"(?!' + "|".join([*STATS, *PROVENANCE_PREFIXES]).encode() + b")"
).match
"""Passes over nearly all stats of others without decoding: HELM writes the name first."""
_SEPARATOR = re.compile(rb"\s*,\s*").match
_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"|NaN|Infinity', re.DOTALL)


def rewrite_stats(data: bytes, added: Sequence[Struct], *, file: str) -> bytes:
    """`stats.json` with our stats at its end and none of theirs of the same names.

    Args:
        data: Its content.
        added: Aggregated stats of ours.
        file: Its path, for messages.

    Raises:
        FileFormatError: It is not a list of stats.
    """
    return _rewrite(data, lambda json: filter(_is_ours, _ELEMENTS.decode(json)), added, file=file)


def rewrite_per_instance_stats(data: bytes, added: Sequence[Struct], *, file: str) -> bytes:
    """`per_instance_stats.json` with our entries at its end and none of theirs of the same names.

    An entry that has no other stats is left out, as a live run does.

    Args:
        data: Its content.
        added: Stats of ours, one entry a unit.
        file: Its path, for messages.

    Raises:
        FileFormatError: It is not a list of per-instance stats.
    """
    return _rewrite(data, _stats_and_entries_to_cut, added, file=file)


def _stats_and_entries_to_cut(json: bytes) -> Iterator[Raw]:
    entries = _ENTRIES.decode(json)
    ours = [[_is_ours(stat) for stat in entry.stats] for entry in entries]
    whole = _ELEMENTS.decode(json) if any(all(flags) for flags in ours) else []
    for place, (entry, flags) in enumerate(zip(entries, ours, strict=True)):
        if all(flags):
            yield whole[place]
        else:
            yield from (stat for stat, flag in zip(entry.stats, flags, strict=True) if flag)


def _is_ours(stat: Raw) -> bool:
    return not _IS_THEIRS(stat) and is_efficiency_stat(_STAT.decode(stat).name.name)


def _rewrite(data: bytes, to_cut: Any, added: Sequence[Struct], *, file: str) -> bytes:
    try:
        try:
            kept = _cut(data, data, to_cut(data))
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:  # Python writes NaN and Infinity, which JSON does not have
            masked = _NOT_JSON.sub(_mask, data)
            kept = _cut(data, masked, to_cut(masked))
    except msgspec.DecodeError as error:
        raise FileFormatError(f"{file}: {error}.") from error
    head = kept.rstrip()[:-1].rstrip()
    lines = [msgspec.json.encode(element) for element in added]
    if not lines:
        return kept
    return head + (b"\n" if head.endswith(b"[") else b",\n") + b",\n".join(lines) + b"\n]"


def _mask(match: re.Match[bytes]) -> bytes:
    """A number of the same length in place of NaN and Infinity."""
    return match[0] if match[0].startswith(b'"') else b"1" * len(match[0])


def _cut(data: bytes, json: bytes, elements: Iterable[Raw]) -> bytes:
    """The bytes without some elements of its arrays, each with one comma beside it.

    Args:
        data: The bytes.
        json: The same length and the same JSON with numbers where `data` has what is none.
        elements: Views on `json`, in its order.
    """
    kept = bytearray()
    place = 0
    for element in elements:
        start = json.index(bytes(element), place)
        kept += data[place:start]
        place = start + len(bytes(element))
        if separator := _SEPARATOR(json, place):
            place = separator.end()
        else:
            _drop_trailing_comma(kept)
    return bytes(kept + data[place:])


def _drop_trailing_comma(kept: bytearray) -> None:
    end = len(kept)
    while kept[end - 1 : end].isspace():
        end -= 1
    if kept[end - 1 : end] == b",":
        del kept[end - 1 :]
