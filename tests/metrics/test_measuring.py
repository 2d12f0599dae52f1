"""Savings of an archive: a requests table and a store whose sums are worked by hand."""

from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from helm_efficiency.catalog.accelerators import Price
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.api_cost import load_api_prices
from helm_efficiency.metrics.savings import MeasuringPrices, measuring_costs, read_totals
from helm_efficiency.metrics.table import REQUEST_COLUMNS, request_schema
from helm_efficiency.store import Store

HOUR_USD = Decimal(3600)  # a dollar for an accelerator-second
PRICES = MeasuringPrices(
    {"x": Price(HOUR_USD, date(2026, 1, 1), "test")}, load_api_prices(), datetime(2026, 11, 20, tzinfo=UTC)
)


def write_requests(folder: Path, rows: list[dict[str, object]]) -> Path:
    """A requests table as re-scoring writes it."""
    (folder / "requests").mkdir(parents=True)
    empty = dict.fromkeys(REQUEST_COLUMNS)
    table = pa.Table.from_pylist([empty | row for row in rows], schema=request_schema())
    pq.write_table(table, folder / "requests" / "part-0.parquet")
    return folder


def request(deployment: str, accelerator_s: float | None, api_usd: float | None) -> dict[str, object]:
    return {
        "deployment": deployment,
        "model": deployment,
        "stack": "x-engine",
        "accelerator_s": accelerator_s,
        "api_usd": api_usd,
    }


def put_profile(store: Store, deployment: str) -> None:
    # (2 * 1 s + 1 s) * 2 accelerators = 6 accelerator-s
    measurements = (Measurement(1, 1, 1.0, num_repetitions=2), Measurement(1, 2, 1.0))
    store.put_profile(Profile(deployment, Stack("x-engine", "x", 2), measurements))


def test_by_hand(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    put_profile(store, "openai/gpt-4o-2024-08-06")
    scored = write_requests(
        tmp_path / "scored",
        [request("openai/gpt-4o-2024-08-06", 4.0, 1.0), request("openai/gpt-4o-2024-08-06", 6.0, 2.0)],
    )
    rows, missing = measuring_costs(read_totals(scored), store, prices=PRICES, trials=50, service_trials=10)
    # idealized: repeated 50 * 10 + 3 = 503, calibrated 6 + 3 = 9
    # denoised: repeated 10 * 3 = 30; the probe asks 10 times for (1 + 256 + 512 + 1024 + 1536) * 7 = 23303 prompt
    # tokens at $2.5 and (1 + 2 + 4 + 8 + 16 + 32 + 64) * 5 = 635 output tokens at $10 a million: $0.646075
    assert missing == []
    assert rows == [
        {
            "deployment": "openai/gpt-4o-2024-08-06",
            "stack": "x-engine",
            "num_requests": 2,
            "answers_usd": 3.0,
            "idealized_repeated_usd": 503.0,
            "idealized_calibrated_usd": 9.0,
            "idealized_factor": pytest.approx(503 / 9),
            "denoised_repeated_usd": 30.0,
            "denoised_calibrated_usd": 3.646075,
            "denoised_factor": pytest.approx(30 / 3.646075),
        }
    ]


def test_what_is_missing_is_listed(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    put_profile(store, "here/profiled")
    scored = write_requests(
        tmp_path / "scored",
        [
            request("here/profiled", 4.0, None),
            request("here/unknown", 4.0, None),
            request("here/unscored", None, None),
        ],
    )
    rows, missing = measuring_costs(read_totals(scored), store, prices=PRICES, trials=50, service_trials=10)
    assert [(row["deployment"], row["idealized_factor"], row["denoised_factor"]) for row in rows] == [
        ("here/profiled", pytest.approx(200 / 6), None),
        ("here/unknown", None, None),
        ("here/unscored", None, None),
    ]
    assert missing == [
        "here/profiled on x-engine: 1 of 1 requests without an API price",
        "here/unknown on x-engine: no profile in the store, so what calibration took is not known",
        "here/unknown on x-engine: 1 of 1 requests without an API price",
        "here/unscored on x-engine: 1 of 1 requests without an idealized runtime",
        "here/unscored on x-engine: 1 of 1 requests without an API price",
    ]


def test_an_accelerator_without_a_price(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    put_profile(store, "here/profiled")
    scored = write_requests(tmp_path / "scored", [request("here/profiled", 4.0, 1.0)])
    prices = MeasuringPrices({}, load_api_prices(), datetime(2026, 11, 20, tzinfo=UTC))
    _, missing = measuring_costs(read_totals(scored), store, prices=prices, trials=50, service_trials=10)
    assert missing == ["here/profiled on x-engine: no price for x"]


def test_no_table(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no requests table \(.*Write one with: helm-efficiency rescore"):
        read_totals(tmp_path / "nothing")
