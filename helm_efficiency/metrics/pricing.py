"""Prices of one day for everything that is scored together: accelerators by the hour, APIs by the token."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import numpy as np

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog.accelerators import ON_DEMAND, load_accelerators, prices_as_of
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.metrics.api_cost import ApiPrices, load_api_prices


class ApiUsd(NamedTuple):
    """US dollars that a provider billed for each request; NaN if unknown.

    Attributes:
        on_the_day: Dollars at the price on the day of each request.
        today: Dollars at the price on the day of scoring.
        at_least: Dollars at the price on the day of each request; a lower bound if token counts are too low.
    """

    on_the_day: FloatArray
    today: FloatArray
    at_least: FloatArray


@dataclass(frozen=True, slots=True)
class Pricing:
    """Prices of accelerator time and of tokens on a day.

    Attributes:
        day: Day of the prices.
        usd_per_accelerator_hour: Exact price by accelerator ($ per hour); absent for accelerators without a price.
        api: Prices of APIs, on the day of a request and on `day`.

    Example:
        >>> from datetime import date
        >>> from helm_efficiency import Pricing
        >>> Pricing.as_of(date(2023, 12, 1), price_list="paper-2023").usd_per_accelerator_hour["a100-80gb"]
        Decimal('4.096')
    """

    day: date
    usd_per_accelerator_hour: Mapping[str, Decimal]
    api: ApiPrices

    @classmethod
    def as_of(
        cls,
        day: date,
        *,
        price_list: str = ON_DEMAND,
        accelerator_file: Path | None = None,
        api_file: Path | None = None,
    ) -> "Pricing":
        """Return the prices of a day.

        Args:
            day: Day of the prices.
            price_list: Name of the price list of accelerators.
            accelerator_file: File of a user's own accelerators and prices, which come before the catalog's.
            api_file: File of a user's own prices of APIs, which come before the library's.

        Raises:
            FileFormatError: A file has a bad row.
        """
        prices = prices_as_of(load_accelerators(accelerator_file), day, price_list)
        usd = {name: price.usd_per_accelerator_hour for name, price in prices.items()}
        return cls(day, usd, load_api_prices(api_file))

    def api_usd(self, records: Sequence[RequestRecord]) -> ApiUsd:
        """Return the US dollars billed for each record; NaN if unknown."""
        whom = {(record.deployment, record.model) for record in records}
        if not any(self.api.are_known(deployment, model) for deployment, model in whom):
            unknown = np.full(len(records), np.nan)
            return ApiUsd(unknown, unknown, unknown)
        costs = self.api.costs(records, today=self._noon())
        return ApiUsd(
            _reals([cost.usd for cost in costs]),
            _reals([cost.usd_today for cost in costs]),
            _reals([cost.usd_at_least if cost.usd is None else cost.usd for cost in costs]),
        )

    def api_rates(self, deployment: str, model: str) -> str:
        """Return a text that identifies a deployment's API price on `day`, to detect changes; empty without a price."""
        return self.api.rates_text(deployment, model, self._noon())

    def _noon(self) -> datetime:
        return datetime.combine(self.day, time(12), UTC)


def _reals(values: Sequence[object]) -> FloatArray:
    return np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)  # type: ignore[arg-type]
