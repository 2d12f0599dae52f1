"""Tables out of Python values: as pyarrow itself makes them, and the same in blocks of any size."""

import math
from pathlib import Path

import pyarrow as pa
import pytest
from helpers.archives import some_coefficients
from hypothesis import given
from hypothesis import strategies as st

from helm_efficiency.adapters.sources import read_runs
from helm_efficiency.metrics import rows
from helm_efficiency.metrics.efficiency import score_requests
from helm_efficiency.metrics.fast import number_array, text_array
from helm_efficiency.metrics.rows import request_tables


@given(st.lists(st.none() | st.text(), max_size=20) | st.integers(1, 20).map(lambda n: ["ä"] * n))
def test_texts(values: list[str | None]) -> None:
    made = text_array(values)
    made.validate(full=True)
    assert made.equals(pa.array(values, pa.string()))


@given(
    st.lists(st.none() | st.integers(-(2**53), 2**53)) | st.integers(1, 20).map(lambda n: [7] * n),
    st.lists(st.none() | st.floats(allow_nan=False)),
    st.lists(st.none() | st.booleans()),
)
def test_numbers(counts: list[int | None], reals: list[float | None], flags: list[bool | None]) -> None:
    for values, kind in ((counts, pa.int64()), (reals, pa.float64()), (flags, pa.bool_())):
        made = number_array(values, kind)
        made.validate(full=True)
        assert made.equals(pa.array(values, kind))
    assert number_array([math.nan, 1.0], pa.float64()).to_pylist() == [None, 1.0]


def test_blocks_together_are_the_table(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = [record for run in read_runs([data_dir / "helm_runs"]) for record in run.records]
    coefficients = some_coefficients()
    scored = score_requests(records, coefficients, stacks=[coefficients.default_stack()])
    (whole,) = request_tables(records, scored)
    monkeypatch.setattr(rows, "_BLOCK", 100)
    blocks = list(request_tables(records, scored))
    assert [len(block) for block in blocks] == [100, 100, 100, 25]
    assert pa.concat_tables(blocks).to_pylist() == whole.to_pylist()
    assert whole["scores"].to_pylist() == [list(record.scores.items()) for record in records]
