"""Read the hardware that `--on` names, and find the coefficients that a command asks for."""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from helm_efficiency.cli.options import OnOption, PriceOptions, StoreOption, load_catalog, note
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES, DEFAULT_STORE
from helm_efficiency.errors import EfficiencyError, InputError

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.metrics.known_models import Hardware, KnownModel
    from helm_efficiency.store import Store

_ON = re.compile(r"(?:(\d{1,6})x)?([^:\s]+)(?::([\w.-]+))?")


def parse_hardware(text: str, *, engine: str = "", dtype: str = "", prices: Path | None) -> "Hardware":
    """Return the hardware of a text such as `4xh100-sxm:sglang`.

    Args:
        text: Number, accelerator and engine; only the accelerator is needed.
        engine: Serving engine that is used if the text names none.
        dtype: Number format of the weights; empty for that of the checkpoint.
        prices: File of a user's own accelerators.

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
    accelerator = find_accelerator(key, load_accelerators(prices))
    return Hardware(accelerator, int(number) if number else None, named or engine, dtype)


@dataclass(frozen=True)
class FitOptions:
    """Choice of coefficients: those of a deployment in the store, or of any known model on named hardware."""

    deployment: Annotated[str, "Deployment in the store, or any name that estimate takes."]
    stack: Annotated[str | None, "Stack in the store; needed if there are several."] = None
    on: OnOption = None
    store: StoreOption = DEFAULT_STORE
    prices: PriceOptions = field(default_factory=PriceOptions)

    def open_store(self) -> "Store | None":
        """Return the store; None if it is the usual one and there is none yet."""
        from helm_efficiency.store import Store

        return Store(self.store, create=False) if self.store.exists() or self.store != DEFAULT_STORE else None

    def find(self) -> "tuple[Fit, KnownModel | None]":
        """Return the coefficients, and the model if its sizes or measurements are known.

        Raises:
            EfficiencyError: No coefficients were found; the message says how to get some.
        """
        from helm_efficiency.metrics.default_coefficients import USUAL_HARDWARE
        from helm_efficiency.metrics.known_models import find_model, fits_on, require_model

        opened = self.open_store()
        catalog = load_catalog(DEFAULT_ARCHITECTURES)
        if self.on is None and opened is not None:
            known = find_model(self.deployment, catalog, opened)
            try:
                return opened.fit(self.deployment, self.stack), known
            except EfficiencyError as error:
                if known is None or self.stack or opened.fits(deployment=self.deployment):
                    raise self._with_advice(error, opened) from error
        if self.on is None:
            note(f"Estimated on {USUAL_HARDWARE}, as no store has coefficients of it. On others: --on 2xh200-sxm")
        hardware = parse_hardware(self.on or USUAL_HARDWARE, prices=self.prices.prices)
        model = require_model(self.deployment, catalog, opened)
        return replace(fits_on(model, hardware, opened)[0], deployment=self.deployment), model

    def _with_advice(self, error: EfficiencyError, opened: "Store") -> EfficiencyError:
        from helm_efficiency.metrics.known_models import near_names

        like = near_names(self.deployment, load_catalog(DEFAULT_ARCHITECTURES), opened)
        others = ", ".join(name for name in like if name != self.deployment)
        hint = f" Similar names: {others}." if others else ""
        return type(error)(f"{error}{hint} Any hardware without measuring: --on h100-sxm.")
