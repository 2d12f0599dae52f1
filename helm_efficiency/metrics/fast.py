"""Make Arrow arrays from Python values.

The arrays are made from buffers, because `pyarrow.array` loads pandas before it makes its first array. In each process,
this takes longer than scoring some thousand requests.
"""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from helm_efficiency.core.arrays import BoolArray


def text_array(values: Sequence[str | None]) -> pa.StringArray:
    """Return an array of texts; None becomes null."""
    if _are_one(values):
        return _of_one_text(values[0], len(values))
    valid = (
        np.array([value is not None for value in values]) if None in values else np.ones(len(values), dtype=np.bool_)
    )
    encoded = list(map(str.encode, [value or "" for value in values]))
    offsets = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    return _string_array(offsets, b"".join(encoded), valid)


def _are_one(values: Sequence[Any]) -> bool:
    """Return whether all values are the same, as in most columns of a run."""
    return bool(values) and values.count(values[0]) == len(values)


def _of_one_text(value: str | None, length: int) -> pa.StringArray:
    if value is None:
        return pa.nulls(length, pa.string())
    encoded = value.encode()
    offsets = np.arange(length + 1, dtype=np.int32) * len(encoded)
    return _string_array(offsets, encoded * length, np.ones(length, dtype=np.bool_))


def _string_array(offsets: NDArray[np.int32], data: bytes, valid: BoolArray) -> pa.StringArray:
    buffers = [_bits(valid), pa.py_buffer(offsets), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.string(), len(valid), buffers)


def number_array(values: Sequence[float | None] | NDArray[Any], kind: pa.DataType) -> pa.Array:
    """Return an array of numbers or flags; None and NaN become null.

    Args:
        values: Whole numbers below 2**53, floats or flags.
        kind: Arrow type: int64, float64 or bool.
    """
    if not isinstance(values, np.ndarray) and _are_one(values):
        values = np.repeat(np.array(values[:1], dtype=np.float64), len(values))
    reals = np.asarray(values, dtype=np.float64)
    valid = ~np.isnan(reals)
    if not valid.any():
        return pa.nulls(len(reals), kind)
    if kind == pa.bool_():
        data = _bits(reals == 1.0, always=True)
    else:
        known = reals if kind == pa.float64() else np.where(valid, reals, 0.0).astype(np.int64)
        data = pa.py_buffer(known)
    return pa.Array.from_buffers(kind, len(reals), [_bits(valid), data])


def index_array(places: NDArray[np.integer[Any]]) -> pa.Int32Array:
    """Return an array of indices into another array."""
    return pa.Array.from_buffers(pa.int32(), len(places), [None, pa.py_buffer(places.astype(np.int32))])


def score_maps(scores: Sequence[Mapping[str, float]]) -> pa.MapArray:
    """Return the scores of each request by name; a mapping that many requests share is converted once."""
    distinct = list({id(each): each for each in scores}.values())
    place_of = {id(each): place for place, each in enumerate(distinct)}
    ends = np.cumsum([0, *map(len, distinct)])
    names = list(chain.from_iterable(distinct))
    marks = list(chain.from_iterable(each.values() for each in distinct))
    maps = pa.MapArray.from_arrays(index_array(ends), text_array(names), number_array(marks, pa.float64()))
    return maps.take(index_array(np.array([place_of[id(each)] for each in scores])))


def _bits(flags: BoolArray, *, always: bool = False) -> pa.Buffer | None:
    """Return a bitmap of flags; None if all are set, unless `always` is true."""
    return pa.py_buffer(np.packbits(flags, bitorder="little")) if always or not flags.all() else None
