"""Read the hardware that `--on` names: accelerators of the catalog, their number, and an engine."""

import re
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from helm_efficiency.errors import EfficiencyError, InputError

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Price
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.metrics.known_models import Hardware

_ON = re.compile(r"(?:(\d{1,6})x)?([^:\s]+)(?::([\w.-]+))?")


class Prices(NamedTuple):
    """Choice of the accelerators' prices: a user's own file, a list, a day."""

    file: Path | None = None
    price_list: str = "on-demand"
    day: datetime | None = None


def parse_hardware(text: str, *, engine: str = "", dtype: str = "", prices: Prices) -> "tuple[Hardware, Price | None]":
    """Return the hardware of a text such as `4xh100-sxm:sglang`, and the price of one accelerator.

    Args:
        text: Number, accelerator and engine; only the accelerator is needed.
        engine: Serving engine that is used if the text names none.
        dtype: Number format of the weights; empty for that of the checkpoint.
        prices: Choice of the accelerators' prices.

    Raises:
        InputError: The text has another form.
        CatalogError: The accelerator is unknown.
    """
    from helm_efficiency.catalog.accelerators import find_accelerator, load_accelerators
    from helm_efficiency.metrics.known_models import Hardware

    match = _ON.fullmatch(text.strip().lower())
    if match is None or match[1] == "0":
        raise InputError(f"--on {text}: expected such as h100-sxm, 4xh100-sxm or 4xh100-sxm:sglang.")
    number, key, named = match.groups()
    accelerator = find_accelerator(key, load_accelerators(prices.file))
    price = accelerator.price(prices.day.date() if prices.day else None, prices.price_list)
    return Hardware(accelerator, int(number) if number else None, named or engine, dtype), price


def find_fit(deployment: str, stack: str | None, on: str | None, *, store: Path, prices: Prices) -> "Fit":
    """Return the coefficients of a deployment in the store, or of any known model on named hardware.

    Args:
        deployment: Deployment, or any name that `estimate` takes.
        stack: Stack in the store; None for the only one.
        on: Hardware such as `4xh100-sxm`; None to use the stacks of the store.
        store: Path of the store of measurements and coefficients; it may be missing if `on` is given.
        prices: Choice of prices, with the user's own accelerators.

    Raises:
        EfficiencyError: No coefficients were found; the message says how to get some.
    """
    from helm_efficiency.cli.options import load_catalog
    from helm_efficiency.defaults import DEFAULT_ARCHITECTURES
    from helm_efficiency.metrics.known_models import fits_on, near_names, require_model
    from helm_efficiency.store import Store

    opened = Store(store, create=False) if store.exists() or on is None else None
    catalog = load_catalog(DEFAULT_ARCHITECTURES)
    if on is not None:
        hardware, _ = parse_hardware(on, prices=prices)
        return fits_on(require_model(deployment, catalog, opened), hardware, opened)[0]
    assert opened is not None
    try:
        return opened.fit(deployment, stack)
    except EfficiencyError as error:
        like = [name for name in near_names(deployment, catalog, opened) if name != deployment]
        hint = f" Similar names: {', '.join(like)}." if like else ""
        raise type(error)(f"{error}{hint} Any hardware without measuring: --on h100-sxm.") from error
