"""Records of requests as a data frame, for whoever wants to look at them or compute something of their own."""

from collections.abc import Iterable

import pandas as pd

from helm_efficiency.adapters.json_stream import Count, Seconds
from helm_efficiency.adapters.record import RequestRecord

_DTYPES = {Count: "Int64", Count | None: "Int64", Seconds | None: "float64"}
"""Dtypes of columns that may have missing values, by declared type; plain integer columns of pandas cannot."""


def records_frame(records: Iterable[RequestRecord]) -> pd.DataFrame:
    """Return request records as a data frame.

    Args:
        records: Records of any runs; the iterable is read once.

    Returns:
        One row per request, in order, and a column for each attribute of `RequestRecord`: tokens as whole numbers,
        seconds, names, and `scores` as a mapping by name of the score. A missing value is <NA> or NaN, never 0.

    Example:
        >>> from helm_efficiency import read_runs, records_frame
        >>> frame = records_frame(record for run in read_runs(["benchmark_output/runs"]) for record in run.records)
        >>> frame[["prompt_tokens", "output_tokens", "observed_s"]].dtypes.astype(str).to_list()
        ['Int64', 'Int64', 'float64']
    """
    rows = list(records)
    columns = {name: [getattr(record, name) for record in rows] for name in RequestRecord.__struct_fields__}
    declared = {name: _DTYPES.get(kind) for name, kind in RequestRecord.__annotations__.items()}
    return pd.DataFrame(columns).astype({name: dtype for name, dtype in declared.items() if dtype})
