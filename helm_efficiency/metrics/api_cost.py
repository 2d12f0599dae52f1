"""Compute a provider's bill for a request: token counts × the price on the day of the request, and × today's price.

Prices, their history, tiers and discounts are those of genai-prices, or of a user's own file for private deployments.
A request is billed whole or not at all: if the provider, the model, a token count or a price of one kind of token is
not known, the cost is None and the reason says so; it is never 0. If a count is known to be too low (a `Doubt`), the
bill is a lower bound, and the cost is None.

Cost is linear in the token counts, given the price and the tier (which the total of input tokens decides). So the
library is asked once for the dollars of each kind of token under a price and tier, and not once for each request.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from genai_prices import Usage
from genai_prices.data_snapshot import DataSnapshot, get_snapshot
from genai_prices.types import (
    ClauseEquals,
    ConditionalPrice,
    ModelInfo,
    ModelPrice,
    StartDateConstraint,
    TieredPrices,
)

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.catalog import user_files as price_file
from helm_efficiency.catalog.helm_documents import helm_config
from helm_efficiency.errors import FileFormatError

_MILLION = 1_000_000
_OWN_NEEDED = ("deployment", "input_usd_per_mtok", "output_usd_per_mtok", "date", "source")
_OWN_OPTIONAL = ("cache_read_usd_per_mtok", "cache_write_usd_per_mtok")


class ApiCost(NamedTuple):
    """Bill of one request.

    Attributes:
        usd: Dollars at the price on the day of the request; None if unknown.
        usd_today: Dollars at today's price; None if unknown.
        reason: Reason why one of them is None; empty if neither is.
        usd_at_least: Lower bound of `usd` if token counts are too low: dollars of the counted tokens on the day.
    """

    usd: Decimal | None
    usd_today: Decimal | None
    reason: str
    usd_at_least: Decimal | None = None


class _Rates(NamedTuple):
    """Price of one token of each kind ($)."""

    fresh: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal


class _Tiers(NamedTuple):
    """Rates of one price: the rates of the first tier, then the rates above each threshold of input tokens."""

    thresholds: tuple[int, ...]
    rates: tuple[_Rates, ...]


@dataclass(slots=True)
class ApiPrices:
    """Prices of deployments; each price is looked up once.

    Attributes:
        own: A user's dated prices by deployment; they come before the library's.
        context: Settings of the requests that the price depends on, under the names of genai-prices:
            `{"processing": "batch"}`, `{"service_tier": "flex"}`.
    """

    own: Mapping[str, ModelInfo] = field(default_factory=dict)
    context: Mapping[str, str] = field(default_factory=dict)
    _models: dict[tuple[str, str], ModelInfo | None] = field(default_factory=dict)
    _tiers: dict[tuple[int, tuple[bool, ...]], _Tiers | None] = field(default_factory=dict)

    def costs(self, records: Iterable[RequestRecord], *, today: datetime) -> list[ApiCost]:
        """Return the cost of each record, in order.

        Args:
            records: Requests of any deployments.
            today: Time of today's price, with a time zone.
        """
        return [self.cost(record, today=today) for record in records]

    def cost(self, record: RequestRecord, *, today: datetime) -> ApiCost:
        """Return the cost of one record."""
        cost = self._cost_of_counted(record, today)
        if not record.doubts:
            return cost
        if "parts_above_total" in record.doubts:  # cached tokens are cheaper, so without them the bound is unknown too
            return ApiCost(None, None, cost.reason or "token counts contradict each other")
        return ApiCost(None, None, cost.reason or f"token counts too low ({', '.join(record.doubts)})", cost.usd)

    def _cost_of_counted(self, record: RequestRecord, today: datetime) -> ApiCost:
        """Return the cost of the tokens that were counted."""
        model = self._model(record.deployment, record.model)
        if model is None:
            return ApiCost(None, None, f"no API price for {record.deployment}")
        if record.prompt_tokens is None:
            return ApiCost(None, None, "prompt tokens missing")
        if record.output_tokens is None:
            return ApiCost(None, None, "output tokens missing")
        now = self._usd(model, record, today)
        if now is None:
            return ApiCost(None, None, f"no price per token for {record.deployment}")
        if record.requested_at is None:
            return ApiCost(None, now, "day of the request missing")
        then = self._usd(model, record, datetime.fromtimestamp(record.requested_at, UTC))
        if then is None:
            return ApiCost(None, now, f"no price for {record.deployment} on the day of the request")
        return ApiCost(then, now, "")

    def are_known(self, deployment: str, model: str) -> bool:
        """Return whether any price of a deployment is known."""
        return self._model(deployment, model) is not None

    def rates_text(self, deployment: str, model: str, when: datetime) -> str:
        """Return a text that identifies the price of a deployment's tokens at a time, to detect changes."""
        found = self._model(deployment, model)
        return "" if found is None else repr(self._tiers_at(found, when))

    def _model(self, deployment: str, model: str) -> ModelInfo | None:
        key = (deployment, model)
        if key not in self._models:
            self._models[key] = self.own.get(deployment) or _library_model(*key)
        return self._models[key]

    def _tiers_at(self, model: ModelInfo, when: datetime) -> _Tiers | None:
        key = (id(model), _conditions(model, when))
        if key not in self._tiers:
            self._tiers[key] = _tiers(model, when, self.context)
        return self._tiers[key]

    def _usd(self, model: ModelInfo, record: RequestRecord, when: datetime) -> Decimal | None:
        tiers = self._tiers_at(model, when)
        if tiers is None:
            return None
        tokens, output = record.prompt_tokens or 0, record.output_tokens or 0
        rates = tiers.rates[bisect_left(tiers.thresholds, tokens)]
        read = min(record.cache_read_tokens or 0, tokens)
        write = min(record.cache_write_tokens or 0, tokens - read)
        fresh = tokens - read - write
        return rates.fresh * fresh + rates.cache_read * read + rates.cache_write * write + rates.output * output


def load_api_prices(path: Path | None = None, *, context: Mapping[str, str] | None = None) -> ApiPrices:
    """Load the library's prices and a user's own.

    Args:
        path: CSV with the columns deployment, input_usd_per_mtok, output_usd_per_mtok, date, source and optionally
            cache_read_usd_per_mtok, cache_write_usd_per_mtok; one row for each date from which a price holds.
        context: Settings of the requests that the price depends on, as in `ApiPrices`.

    Raises:
        FileFormatError: `path` cannot be read, has other columns, or a bad value.
    """
    if path is None:
        return ApiPrices(context=context or {})
    rows: dict[str, list[tuple[date, ModelPrice]]] = {}
    for number, row in enumerate(price_file.read_csv_rows(path, needed=_OWN_NEEDED, optional=_OWN_OPTIONAL), start=2):
        where = f"{path}, line {number}"
        price_file.text(row, "source", where)
        rows.setdefault(price_file.text(row, "deployment", where), []).append(
            (price_file.day(row, where), _own_price(row, where))
        )
    own = {deployment: _own_model(deployment, prices) for deployment, prices in rows.items()}
    return ApiPrices(own=own, context=context or {})


def _own_price(row: Mapping[str, Any], where: str) -> ModelPrice:
    if None in row:
        raise FileFormatError(f"{where}: more cells than columns.")
    names = {column: column.replace("_usd_per_mtok", "_mtok") for column in (*_OWN_NEEDED[1:3], *_OWN_OPTIONAL)}
    given = [column for column in names if column in _OWN_NEEDED or row.get(column)]
    return ModelPrice(**{names[column]: price_file.usd(row, column, where, zero=True) for column in given})


def _own_model(deployment: str, prices: Sequence[tuple[date, ModelPrice]]) -> ModelInfo:
    dated = [
        ConditionalPrice(constraint=StartDateConstraint(start_date=day), prices=price)
        for day, price in sorted(prices, key=lambda item: item[0])
    ]
    return ModelInfo(id=deployment, match=ClauseEquals(deployment), prices=dated)


def _library_model(deployment: str, model: str) -> ModelInfo | None:
    """Return the library's entry at the host that the deployment names; other hosts of the model bill differently."""
    host, _, name = deployment.partition("/")
    snapshot: DataSnapshot = get_snapshot()
    try:
        provider = snapshot.find_provider(None, host, None)
    except LookupError:
        return None
    for reference in (_name_sent().get(deployment), name, model):
        found: ModelInfo | None = (
            provider.find_model(reference, all_providers=snapshot.providers) if reference else None
        )
        if found is not None:
            return found
    alike = [entry for entry in provider.models if entry.id.lower().rpartition("/")[2] == name.lower()]
    return alike[0] if len(alike) == 1 else None


@cache
def _name_sent() -> Mapping[str, str]:
    """Map deployments to the model name that HELM's client sends, for deployments with another name of their own."""
    sent: dict[str, str] = {}
    for entry in helm_config("model_deployments"):
        arguments = (entry.get("client_spec") or {}).get("args") or {}
        for key, value in arguments.items():
            if key.endswith(("_model", "_model_name", "_model_id")) and not key.startswith("dspy"):
                sent[entry["name"]] = str(value)
    return sent


def _conditions(model: ModelInfo, when: datetime) -> tuple[bool, ...]:
    """Return which of a model's dated prices and variants hold at a time; its price depends on these alone."""
    dated = model.prices if isinstance(model.prices, list) else ()
    conditions = (item.constraint for item in (*dated, *(model.price_variants or ())))
    return tuple(condition is None or condition.active(when) for condition in conditions)


def _tiers(model: ModelInfo, when: datetime, context: Mapping[str, str]) -> _Tiers | None:
    """Ask the library for the rates that hold at a time; None before the first dated price, or for no token price."""
    if isinstance(model.prices, list) and not any(_conditions(model, when)[: len(model.prices)]):
        return None
    price = model.get_prices(when, dict(context) or None)
    if price.input_mtok is None or price.output_mtok is None:
        return None
    tiered = [value for value in price.__dict__.values() if isinstance(value, TieredPrices)]
    thresholds = tuple(sorted({tier.start for value in tiered for tier in value.tiers}))
    return _Tiers(thresholds, tuple(_rates(price, tokens) for tokens in (1, *(start + 1 for start in thresholds))))


def _rates(price: ModelPrice, tokens: int) -> _Rates:
    """Return the rates in the tier of a number of input tokens."""

    def usd(**usage: int) -> Decimal:
        total: Decimal = price.calc_price(Usage(input_tokens=tokens, **usage))["total_price"]
        return total

    fresh = usd()
    return _Rates(
        fresh=fresh / tokens,
        cache_read=usd(cache_read_tokens=tokens) / tokens,
        cache_write=usd(cache_write_tokens=tokens) / tokens,
        output=(usd(output_tokens=_MILLION) - fresh) / _MILLION,
    )
