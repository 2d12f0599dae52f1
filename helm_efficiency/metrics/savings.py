"""Compare the cost of measuring the efficiency of an archive with the cost of repeating every request of it.

The module reads the requests table that re-scoring writes, and the profiles of the store.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.accelerators import Price
from helm_efficiency.core.cost import (
    PROBE_GRID,
    denoised_measuring_cost,
    exact_usd,
    idealized_measuring_cost,
    profile_usd,
)
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.api_cost import ApiPrices
from helm_efficiency.metrics.table import require_version
from helm_efficiency.store import Store

_COLUMNS = ("deployment", "model", "stack", "accelerator_s", "api_usd", "api_usd_today")


@dataclass(frozen=True, slots=True)
class MeasuringPrices:
    """Prices of accelerators, by key, and of the tokens of services, at a time `on` (with its time zone)."""

    accelerators: Mapping[str, Price]
    api: ApiPrices
    on: datetime


def read_totals(path: Path) -> pd.DataFrame:
    """Read the totals of each deployment, model and stack of a scored archive.

    Args:
        path: Folder written by re-scoring, or its `requests` table.

    Returns:
        One row each: num_requests, accelerator_s (s), num_scored, answers_usd ($), num_billed.

    Raises:
        InputError: `path` has no such table.
        FileFormatError: A part of the table has a newer format.
    """
    folder = path / "requests" if (path / "requests").exists() else path
    try:
        dataset = ds.dataset(folder, format="parquet")
        for part in dataset.get_fragments():
            require_version(part.physical_schema.metadata, part.path)
        requests = dataset.to_table(columns=list(_COLUMNS)).to_pandas()
    except (OSError, ValueError, KeyError) as error:
        raise InputError(
            f"{path}: no requests table ({str(error).splitlines()[0]}). Write one with: helm-efficiency rescore"
        ) from error
    requests["answers_usd"] = requests["api_usd"].fillna(requests["api_usd_today"])
    groups = requests.groupby(["deployment", "model", "stack"], dropna=False)
    totals: pd.DataFrame = groups.agg(
        num_requests=("accelerator_s", "size"),
        accelerator_s=("accelerator_s", "sum"),
        num_scored=("accelerator_s", "count"),
        answers_usd=("answers_usd", "sum"),
        num_billed=("answers_usd", "count"),
    )
    totals.reset_index(inplace=True)
    totals["stack"] = totals["stack"].astype(object).where(totals["stack"].notna(), None)
    return totals


def measuring_costs(
    totals: pd.DataFrame, store: Store, *, prices: MeasuringPrices, trials: int, service_trials: int
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the cost of measuring each deployment on each stack, with calibration and by repeating requests.

    Args:
        totals: Totals that `read_totals` returns.
        store: Store with the profiles that the stacks were calibrated by.
        prices: Prices of accelerators and tokens.
        trials: Number of times each request would be repeated on the stack if there were no calibration.
        service_trials: Number of times each request to the service would be repeated if there were no calibration.

    Returns:
        One row for each total, with null for unknown dollars and factors; and a list of the missing data.
    """
    rows, missing = [], []
    for total in totals.to_dict("records"):
        row, reasons = _row(total, store, prices=prices, trials=trials, service_trials=service_trials)
        rows.append(row)
        missing += [f"{row['deployment']} on {row['stack'] or 'no stack'}: {reason}" for reason in reasons]
    return rows, missing


def _row(
    total: Mapping[Any, Any], store: Store, *, prices: MeasuringPrices, trials: int, service_trials: int
) -> tuple[dict[str, Any], list[str]]:
    answers = Decimal(total["answers_usd"]) if total["num_billed"] == total["num_requests"] else None
    idealized, calibration, reasons = _stack_usd(total, store, prices)
    probe = _probe_usd(total, prices, service_trials)
    if answers is None:
        reasons.append(
            f"{total['num_requests'] - total['num_billed']} of {total['num_requests']} requests without an API price"
        )
    on_stack = (
        idealized_measuring_cost(idealized, calibration, answers_usd=answers or Decimal(0), num_trials=trials)
        if idealized is not None and calibration is not None
        else None
    )
    at_service = (
        denoised_measuring_cost(answers, probe, num_trials=service_trials)
        if answers is not None and probe is not None
        else None
    )
    return {
        "deployment": total["deployment"],
        "stack": total["stack"],
        "num_requests": total["num_requests"],
        "answers_usd": _presented(answers),
        "idealized_repeated_usd": on_stack and float(on_stack.repeated_usd),
        "idealized_calibrated_usd": on_stack and float(on_stack.calibrated_usd),
        "idealized_factor": on_stack and on_stack.factor,
        "denoised_repeated_usd": at_service and float(at_service.repeated_usd),
        "denoised_calibrated_usd": at_service and float(at_service.calibrated_usd),
        "denoised_factor": at_service and at_service.factor,
    }, reasons


def _stack_usd(
    total: Mapping[Any, Any], store: Store, prices: MeasuringPrices
) -> tuple[Decimal | None, Decimal | None, list[str]]:
    """Return the dollars of every request once on the stack, those of its profile, and the reasons for missing ones."""
    if total["num_scored"] < total["num_requests"]:
        unscored = total["num_requests"] - total["num_scored"]
        return None, None, [f"{unscored} of {total['num_requests']} requests without an idealized runtime"]
    profiles = store.profiles(deployment=total["deployment"], stack=total["stack"]) or store.profiles(
        deployment=total["model"], stack=total["stack"]
    )
    if not profiles:
        return None, None, ["no profile in the store, so what calibration took is not known"]
    price = prices.accelerators.get(profiles[0].stack.accelerator)
    if price is None:
        return None, None, [f"no price for {profiles[0].stack.accelerator}"]
    usd_per_hour = price.usd_per_accelerator_hour
    return exact_usd(total["accelerator_s"], usd_per_hour), profile_usd(profiles[0], usd_per_hour), []


def _probe_usd(total: Mapping[Any, Any], prices: MeasuringPrices, service_trials: int) -> Decimal | None:
    """Return the dollars of sending the probe grid to the service, each point as often as a request is repeated."""
    asked = _probe_records(total["deployment"], total["model"])
    bills = prices.api.costs(asked, today=prices.on)
    usd = [bill.usd_today for bill in bills]
    known = [amount for amount in usd if amount is not None]
    return service_trials * sum(known, Decimal(0)) if len(known) == len(usd) else None


def _probe_records(deployment: str, model: str) -> Sequence[RequestRecord]:
    return [
        RequestRecord(
            harness="helm",
            suite="",
            run="probe",
            scenario="probe",
            model=model,
            deployment=deployment,
            instance_id=f"{prompt}-{output}",
            prompt_tokens=prompt,
            output_tokens=output,
        )
        for prompt, output in PROBE_GRID
    ]


def _presented(usd: Decimal | None) -> float | None:
    return None if usd is None else float(usd)
