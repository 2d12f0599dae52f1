"""Records as a data frame: nothing is lost, and missing is not 0."""

import pandas as pd

from helm_efficiency.adapters.frame import records_frame
from helm_efficiency.adapters.record import RequestRecord


def record(**facts: object) -> RequestRecord:
    names = dict.fromkeys(("harness", "suite", "run", "scenario", "model", "deployment", "instance_id"), "x")
    return RequestRecord(**(names | facts))  # type: ignore[arg-type]


def test_missing_counts_stay_missing_and_known_ones_whole() -> None:
    frame = records_frame([record(prompt_tokens=2**53, observed_s=2.0, scores={"em": 1.0}), record()])
    assert list(frame.columns) == list(RequestRecord.__struct_fields__)
    assert frame["prompt_tokens"].to_list() == [2**53, pd.NA]
    assert frame["scores"].to_list() == [{"em": 1.0}, {}]
    assert frame["observed_s"].isna().to_list() == [False, True]
    assert (frame["cached"].dtype, frame["num_completions"].dtype) == ("bool", "Int64")


def test_no_record_has_the_same_columns_of_the_same_kinds() -> None:
    some, none = records_frame([record()]), records_frame([])
    kinds = {name: str(kind) for name, kind in some.dtypes.items() if str(kind) in ("Int64", "float64")}
    assert len(none) == 0
    assert {name: str(none[name].dtype) for name in kinds} == kinds
    assert {"ttft_s", "observed_s", "requested_at", "max_completion_tokens", "train_trial"} <= set(kinds)
