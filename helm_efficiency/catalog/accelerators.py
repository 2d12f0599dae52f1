"""Accelerators: what each can do, what it draws, and what an hour of it costs, as of a date and with the source.

The figures stand in `data/accelerators.yaml`. A user's own file, YAML of the same shape or CSV of prices, adds to them.
Prices are exact decimals. A price that is not known is None, never 0.
"""

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from helm_efficiency.errors import CatalogError, FileFormatError

ON_DEMAND = "on-demand"
"""The default price list: what a cloud asks without commitment."""

PAPER = "paper-2023"
"""The price list of Narayanan et al., NeurIPS 2023."""

_PRICE_COLUMNS = ("accelerator", "usd_per_accelerator_hour", "date", "source")
_OPTIONAL_PRICE_COLUMNS = ("price_list",)
_ACCELERATOR_KEYS = frozenset(
    {"name", "memory_gb", "bandwidth_gb_per_s", "dense_tflop_per_s", "link_gb_per_s", "tdp_w", "node_size", "source"}
    | {"description"}
)


@dataclass(frozen=True, slots=True)
class Price:
    """What an hour of one accelerator costs.

    Attributes:
        usd_per_accelerator_hour: Exact; the host it sits in included.
        date: When the price was published, or when it was seen.
        source: Who published it, where.
        price_list: Which list it belongs to.
    """

    usd_per_accelerator_hour: Decimal
    date: date
    source: str
    price_list: str = ON_DEMAND


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A priced hardware unit.

    Attributes:
        key: As in `Stack.accelerator`, such as `a100-80gb`.
        name: As its maker calls it.
        memory_bytes: Capacity; None if it depends on the machine.
        bandwidth_bytes_per_s: Peak of its memory; None if unknown.
        dense_flop_per_s: Peak without sparsity by dtype; a multiply-add is 2 FLOPs. Integer operations for int8.
        link_bytes_per_s: Peak to its neighbours in the node, both directions together; None if unknown.
        tdp_w: Thermal design power; None if unknown.
        node_size: Accelerators in one node.
        source: Who published these figures, where, when.
        description: What else one should know.
        prices: All known, ascending by date.
    """

    key: str
    name: str
    memory_bytes: float | None = None
    bandwidth_bytes_per_s: float | None = None
    dense_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    link_bytes_per_s: float | None = None
    tdp_w: float | None = None
    node_size: int = 8
    source: str = ""
    description: str = ""
    prices: tuple[Price, ...] = ()

    def price(self, on: date | None = None, price_list: str = ON_DEMAND) -> Price | None:
        """The price on a day: the last one of the list that was published by then.

        Args:
            on: The day; today by default.
            price_list: Which list.

        Returns:
            The price, or None where the list has none for this accelerator by that day.
        """
        day = on or date.today()
        known = [price for price in self.prices if price.price_list == price_list and price.date <= day]
        return known[-1] if known else None


@cache
def _packaged() -> Mapping[str, Accelerator]:
    text = files("helm_efficiency.catalog").joinpath("data/accelerators.yaml").read_text(encoding="utf-8")
    return MappingProxyType(_merge({}, yaml.safe_load(text), "data/accelerators.yaml"))


def load_accelerators(extra: Path | None = None) -> Mapping[str, Accelerator]:
    """All known accelerators by key.

    Args:
        extra: A user's own file. YAML: `accelerators` by key and a list of `prices`, as in the packaged file. CSV: only
            prices, with the columns accelerator, usd_per_accelerator_hour, date, source and optionally price_list. Its
            prices replace the packaged ones of the same accelerator and list.

    Returns:
        The packaged accelerators with those of `extra`.

    Raises:
        FileFormatError: `extra` cannot be read, has an unknown or missing key or column, or a bad value.
        CatalogError: A price is for an accelerator that nobody described.
    """
    packaged = _packaged()
    if extra is None:
        return packaged
    try:
        text = extra.read_text(encoding="utf-8")
        document = _read_csv(text, extra) if extra.suffix.lower() == ".csv" else yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise FileFormatError(f"{extra}: not a readable price file ({_first_line(error)}).") from error
    return MappingProxyType(_merge(packaged, document, str(extra)))


def find_accelerator(key: str, accelerators: Mapping[str, Accelerator]) -> Accelerator:
    """Look one up.

    Raises:
        CatalogError: There is none of that key.
    """
    if key not in accelerators:
        raise CatalogError(
            f"Unknown accelerator {key!r}. Known: {', '.join(sorted(accelerators))}. "
            "Describe another in a file of your own and name it with --prices."
        )
    return accelerators[key]


def _merge(known: Mapping[str, Accelerator], document: Any, where: str) -> dict[str, Accelerator]:
    if not isinstance(document, dict) or not set(document) <= {"accelerators", "prices"}:
        raise FileFormatError(f"{where}: expected the keys 'accelerators' and 'prices'.")
    merged = dict(known)
    for key, entry in (document.get("accelerators") or {}).items():
        described = _accelerator(str(key), entry, where)
        merged[described.key] = replace(described, prices=merged[key].prices) if key in merged else described
    given: dict[tuple[str, str], list[Price]] = {}
    for row, entry in enumerate(document.get("prices") or (), start=1):
        key, price = _price(entry, f"{where}, price {row}")
        find_accelerator(key, merged)
        given.setdefault((key, price.price_list), []).append(price)
    for (key, price_list), prices in given.items():
        others = [price for price in merged[key].prices if price.price_list != price_list]
        merged[key] = replace(merged[key], prices=tuple(sorted([*others, *prices], key=lambda price: price.date)))
    return merged


def _accelerator(key: str, entry: Any, where: str) -> Accelerator:
    _check_keys(entry, _ACCELERATOR_KEYS, ("name",), f"{where}, accelerator {key!r}")
    scaled: dict[str, float | None] = {}
    for given, scale in (("memory_gb", 1e9), ("bandwidth_gb_per_s", 1e9), ("link_gb_per_s", 1e9), ("tdp_w", 1.0)):
        value = entry.get(given)
        scaled[given] = None if value is None else _positive(value, f"{where}, {key!r}, {given}") * scale
    flops = {
        str(dtype): _positive(value, f"{where}, {key!r}, {dtype}") * 1e12
        for dtype, value in (entry.get("dense_tflop_per_s") or {}).items()
    }
    return Accelerator(
        key,
        str(entry["name"]),
        memory_bytes=scaled["memory_gb"],
        bandwidth_bytes_per_s=scaled["bandwidth_gb_per_s"],
        dense_flop_per_s=MappingProxyType(flops),
        link_bytes_per_s=scaled["link_gb_per_s"],
        tdp_w=scaled["tdp_w"],
        node_size=int(_positive(entry.get("node_size", 8), f"{where}, {key!r}, node_size")),
        source=" ".join(str(entry.get("source", "")).split()),
        description=" ".join(str(entry.get("description", "")).split()),
    )


def _price(entry: Any, where: str) -> tuple[str, Price]:
    _check_keys(entry, {*_PRICE_COLUMNS, *_OPTIONAL_PRICE_COLUMNS}, _PRICE_COLUMNS, where)
    given = entry["usd_per_accelerator_hour"]
    try:
        usd = Decimal(str(given))
    except InvalidOperation as error:
        raise FileFormatError(f"{where}: usd_per_accelerator_hour is {given!r}, expected a number.") from error
    if not usd.is_finite() or usd <= 0:
        raise FileFormatError(
            f"{where}: usd_per_accelerator_hour is {given!r}, expected more than 0. Leave out an unknown price."
        )
    try:
        day = entry["date"] if isinstance(entry["date"], date) else datetime.fromisoformat(str(entry["date"])).date()
    except ValueError as error:
        raise FileFormatError(f"{where}: date is {entry['date']!r}, expected one like 2025-06-30.") from error
    source = " ".join(str(entry["source"]).split())
    return str(entry["accelerator"]), Price(usd, day, source, str(entry.get("price_list") or ON_DEMAND))


def _read_csv(text: str, path: Path) -> dict[str, Any]:
    reader = csv.DictReader(text.splitlines())
    columns = reader.fieldnames or ()
    unknown = [column for column in columns if column not in (*_PRICE_COLUMNS, *_OPTIONAL_PRICE_COLUMNS)]
    missing = [column for column in _PRICE_COLUMNS if column not in columns]
    if unknown or missing:
        raise FileFormatError(
            f"{path}: unknown columns {unknown}, missing columns {missing}. Expected {', '.join(_PRICE_COLUMNS)} "
            f"and optionally {', '.join(_OPTIONAL_PRICE_COLUMNS)}."
        )
    return {"prices": list(reader)}


def _check_keys(entry: Any, allowed: Iterable[str], needed: Iterable[str], where: str) -> None:
    if not isinstance(entry, dict):
        raise FileFormatError(f"{where}: expected keys and values, given {entry!r}.")
    unknown = sorted(str(key) for key in set(entry) - set(allowed))
    missing = [key for key in needed if entry.get(key) in (None, "")]
    if unknown or missing:
        raise FileFormatError(f"{where}: unknown keys {unknown}, missing {missing}. Known: {sorted(allowed)}.")


def _positive(value: Any, where: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise FileFormatError(f"{where}: given {value!r}, expected a number above 0.")
    return number


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
