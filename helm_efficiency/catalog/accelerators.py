"""Accelerators: their peak figures, their power, and the price of an hour, as of a date and with the source.

The figures are in `data/accelerators.yaml`. A user's own file, YAML of the same shape or CSV of prices, adds to them.
Prices are exact decimals. An unknown price is None, never 0.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from helm_efficiency.catalog import user_files as price_file
from helm_efficiency.catalog.user_files import parse_yaml
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.transfer.roofline import AcceleratorSpec
from helm_efficiency.errors import CatalogError, FileFormatError

ON_DEMAND = "on-demand"
"""The default price list: prices of a cloud without commitment."""

PAPER = "paper-2023"
"""The price list of Narayanan et al., NeurIPS 2023."""

_PRICE_KEYS = ("accelerator", "usd_per_accelerator_hour", "date", "source")
_OPTIONAL_PRICE_KEYS = ("price_list",)
_OPTIONAL_KEYS = (
    *("memory_gb", "bandwidth_gb_per_s", "dense_tflop_per_s", "link_gb_per_s", "tdp_w", "node_size", "processors"),
    *("description", "aliases"),
)


@dataclass(frozen=True, slots=True)
class Price:
    """Price of an hour of one accelerator.

    Attributes:
        usd_per_accelerator_hour: Exact price in dollars, including the host of the accelerator.
        date: Day on which the price was published or seen.
        source: Publisher of the price, and the publication.
        price_list: Name of the list that the price belongs to.
    """

    usd_per_accelerator_hour: Decimal
    date: date
    source: str
    price_list: str = ON_DEMAND

    def __str__(self) -> str:
        """Return the price with its day and source."""
        return f"${self.usd_per_accelerator_hour} an accelerator-hour, {self.date.isoformat()}, {self.source}"


@dataclass(frozen=True, slots=True)
class Accelerator:
    """A priced hardware unit.

    Attributes:
        key: Key of the accelerator, as in `Stack.accelerator`, such as `a100-80gb`.
        name: Name that its maker uses.
        memory_bytes: Memory capacity; None if unknown.
        bandwidth_bytes_per_s: Peak bandwidth of the memory; None if unknown.
        dense_flop_per_s: Peak rate without sparsity by dtype; a multiply-add is 2 FLOPs. Integer operations for int8.
        link_bytes_per_s: Peak bandwidth to other accelerators of the node, sum of both directions; None if unknown.
        tdp_w: Thermal design power (W); None if unknown.
        node_size: Accelerators in one node.
        num_processors: Streaming multiprocessors or compute units; None if unknown.
        source: Publisher of these figures, with publication and date.
        description: Further remarks.
        aliases: Other keys by which the accelerator is found.
        prices: All known prices, ascending by date.
    """

    key: str
    name: str
    memory_bytes: float | None = None
    bandwidth_bytes_per_s: float | None = None
    dense_flop_per_s: Mapping[str, float] = field(default_factory=dict)
    link_bytes_per_s: float | None = None
    tdp_w: float | None = None
    node_size: int = 8
    num_processors: int | None = None
    source: str = ""
    description: str = ""
    aliases: tuple[str, ...] = ()
    prices: tuple[Price, ...] = ()

    def price(self, on: date | None = None, price_list: str = ON_DEMAND) -> Price | None:
        """Return the price on a day: the last one of the list that was published by then.

        Args:
            on: Day of the price; today by default.
            price_list: Name of the price list.

        Returns:
            The price, or None if the list has no price for this accelerator by that day.
        """
        day = on or date.today()
        known = [price for price in self.prices if price.price_list == price_list and price.date <= day]
        return known[-1] if known else None


def load_accelerators(extra: Path | None = None) -> Mapping[str, Accelerator]:
    """Return all known accelerators by key and by alias; an accelerator with aliases occurs several times.

    Args:
        extra: A user's own file. YAML: `accelerators` by key and a list of `prices`, as in the packaged file. CSV: only
            prices, with the columns accelerator, usd_per_accelerator_hour, date, source and optionally price_list. Its
            prices replace the packaged ones of the same accelerator and list.

    Returns:
        The packaged accelerators with those of `extra`.

    Raises:
        FileFormatError: `extra` cannot be read, has an unknown or missing key or column, or a bad value.
        CatalogError: A price is for an accelerator without a description.

    Example:
        >>> from helm_efficiency import load_accelerators
        >>> load_accelerators()["a100-80gb"].memory_bytes
        80000000000.0
    """
    if extra is None:
        return _packaged()
    if extra.suffix.lower() == ".csv":
        rows = price_file.read_csv_rows(extra, needed=_PRICE_KEYS, optional=_OPTIONAL_PRICE_KEYS)
        return MappingProxyType(_merge(_packaged(), {"prices": rows}, str(extra)))
    return MappingProxyType(_merge(_packaged(), parse_yaml(price_file.read_text(extra), str(extra)), str(extra)))


def find_accelerator(key: str, accelerators: Mapping[str, Accelerator]) -> Accelerator:
    """Look up an accelerator by its key or an alias; case, spaces and underscores do not matter.

    Raises:
        CatalogError: The name is unknown. The message lists similar names.
    """
    found = accelerators.get(key) or accelerators.get(re.sub(r"[\s_]+", "-", key.strip().lower()))
    if found is None:
        # 0.6 is difflib's default: "a101" finds a10 and a100-80gb, "abacus" nothing.
        similar = difflib.get_close_matches(key.lower(), accelerators, n=4, cutoff=0.6)
        meant = ", ".join(dict.fromkeys(accelerators[name].key for name in similar))
        raise CatalogError(
            f"Unknown accelerator {key!r}. {f'Did you mean {meant}? ' if meant else ''}"
            "List all with: helm-efficiency accelerators. "
            "Describe another in a file of your own and name it with --prices."
        )
    return found


def prices_as_of(
    accelerators: Mapping[str, Accelerator], on: date | None = None, price_list: str = ON_DEMAND
) -> dict[str, Price]:
    """Return the prices on a day by key and alias, for accelerators with a price in the list by then.

    Args:
        accelerators: Accelerators, as `load_accelerators` returns them.
        on: Day of the prices; today by default.
        price_list: Name of the price list.

    Returns:
        Exact prices in dollars, each with its date and source.

    Example:
        >>> from datetime import date
        >>> from helm_efficiency import load_accelerators, prices_as_of
        >>> prices_as_of(load_accelerators(), date(2023, 12, 1), "paper-2023")["a100-80gb"].usd_per_accelerator_hour
        Decimal('4.096')
    """
    priced = {key: accelerator.price(on, price_list) for key, accelerator in accelerators.items()}
    return {key: price for key, price in priced.items() if price is not None}


@cache
def _packaged() -> Mapping[str, Accelerator]:
    where = "data/accelerators.yaml"
    text = files("helm_efficiency.catalog").joinpath(where).read_text(encoding="utf-8")
    return MappingProxyType(_merge({}, parse_yaml(text, where), where))


def _merge(known: Mapping[str, Accelerator], document: Any, where: str) -> dict[str, Accelerator]:
    _check_mapping(document, needed=(), optional=("accelerators", "prices"), where=where)
    merged = {key: accelerator for key, accelerator in known.items() if key == accelerator.key}
    for key, entry in (document.get("accelerators") or {}).items():
        described = _accelerator(str(key), entry, f"{where}, accelerator {key!r}")
        merged[described.key] = replace(described, prices=merged[key].prices) if key in merged else described
    given: dict[tuple[str, str], list[Price]] = {}
    for row, entry in enumerate(document.get("prices") or (), start=1):
        named, price = _price(entry, f"{where}, price {row}")
        try:
            key = find_accelerator(named, _with_aliases(merged)).key
        except CatalogError as error:
            raise CatalogError(f"{where}, price {row}: {error}") from error
        given.setdefault((key, price.price_list), []).append(price)
    for (key, price_list), prices in given.items():
        others = [price for price in merged[key].prices if price.price_list != price_list]
        merged[key] = replace(merged[key], prices=tuple(sorted([*others, *prices], key=lambda price: price.date)))
    return _with_aliases(merged)


def _with_aliases(by_key: Mapping[str, Accelerator]) -> dict[str, Accelerator]:
    return dict(by_key) | {alias: accelerator for accelerator in by_key.values() for alias in accelerator.aliases}


def _accelerator(key: str, entry: Any, where: str) -> Accelerator:
    _check_mapping(entry, needed=("name", "source"), optional=_OPTIONAL_KEYS, where=where)
    flops = entry.get("dense_tflop_per_s") or {}
    _check_mapping(flops, needed=(), optional=("fp32", "tf32", "fp16", "bf16", "fp8", "int8", "fp4"), where=where)
    return Accelerator(
        key,
        price_file.text(entry, "name", where),
        memory_bytes=_scaled(entry, "memory_gb", 1e9, where),
        bandwidth_bytes_per_s=_scaled(entry, "bandwidth_gb_per_s", 1e9, where),
        dense_flop_per_s=MappingProxyType({dtype: _positive(flops, dtype, where) * 1e12 for dtype in flops}),
        link_bytes_per_s=_scaled(entry, "link_gb_per_s", 1e9, where),
        tdp_w=_scaled(entry, "tdp_w", 1.0, where),
        node_size=int(_positive({"node_size": 8} | entry, "node_size", where)),
        num_processors=None if entry.get("processors") is None else int(_positive(entry, "processors", where)),
        source=price_file.text(entry, "source", where),
        description=" ".join(str(entry.get("description", "")).split()),
        aliases=tuple(str(alias) for alias in entry.get("aliases", ())),
    )


def _price(entry: Any, where: str) -> tuple[str, Price]:
    _check_mapping(entry, needed=_PRICE_KEYS, optional=_OPTIONAL_PRICE_KEYS, where=where)
    price = Price(
        price_file.usd(entry, "usd_per_accelerator_hour", where),
        price_file.day(entry, where),
        price_file.text(entry, "source", where),
        str(entry.get("price_list") or ON_DEMAND),
    )
    return price_file.text(entry, "accelerator", where), price


def _check_mapping(entry: Any, *, needed: tuple[str, ...], optional: tuple[str, ...], where: str) -> None:
    if not isinstance(entry, dict):
        raise FileFormatError(f"{where}: given {entry!r}, expected keys and values: {', '.join((*needed, *optional))}.")
    price_file.check_names(entry, needed=needed, optional=optional, where=where)


def _scaled(entry: Mapping[str, Any], key: str, scale: float, where: str) -> float | None:
    return None if entry.get(key) is None else _positive(entry, key, where) * scale


def _positive(entry: Mapping[str, Any], key: str, where: str) -> float:
    try:
        number = float(entry[key])
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise FileFormatError(f"{where}: {key} is {entry[key]!r}, expected a number above 0.")
    return number


_COMPUTED_IN = {
    "fp4": ("fp4", "fp8", "int8", "fp16", "bf16", "fp32"),
    "int4": ("int4", "int8", "fp16", "bf16", "fp32"),
    "fp8": ("fp8", "int8", "fp16", "bf16", "fp32"),
    "int8": ("int8", "fp16", "bf16", "fp32"),
    "bf16": ("bf16", "fp16", "fp32"),
    "fp16": ("fp16", "bf16", "fp32"),
    "tf32": ("tf32", "fp32"),
}
"""Dtypes of the matrix units by dtype of the weights, best first: weights in other dtypes are widened before use."""

_GUESSED_FLOP_PER_S = 1e11
_GUESSED_BYTES_PER_S = 2e10


def spec_of(accelerator: Accelerator, dtype: str) -> AcceleratorSpec:
    """Return the peaks of an accelerator at a dtype; without datasheet figures, a guess that is marked as one.

    The guess is 100 GFLOP/s and 20 GB/s, a small CPU; profiles correct it.
    """
    flops = accelerator.dense_flop_per_s
    flop_per_s = next((flops[known] for known in _COMPUTED_IN.get(dtype, (dtype,)) if known in flops), None)
    bandwidth = accelerator.bandwidth_bytes_per_s
    return AcceleratorSpec(
        flop_per_s=flop_per_s or _GUESSED_FLOP_PER_S,
        bandwidth_bytes_per_s=bandwidth or _GUESSED_BYTES_PER_S,
        link_bytes_per_s=(accelerator.link_bytes_per_s or 0.0) / 2.0,
        num_processors=accelerator.num_processors or 0,
        node_size=accelerator.node_size,
        is_datasheet=bool(flop_per_s and bandwidth),
    )


def spec_of_stack(stack: Stack) -> AcceleratorSpec:
    """Return the peaks of a stack's accelerator at its dtype.

    Raises:
        CatalogError: The catalog does not know the accelerator.
    """
    return spec_of(find_accelerator(stack.accelerator, load_accelerators()), stack.dtype)
