"""Define a rescore's plan: the same for every run, and small enough to be sent to each worker."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path
from typing import Any

from helm_efficiency.adapters.sources import FileState, state_of
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.at_load import DEFAULT_BUSY_SERVER, BusyServer
from helm_efficiency.metrics.efficiency import Coefficients
from helm_efficiency.metrics.pricing import Pricing
from helm_efficiency.metrics.table import SCHEMA_VERSION
from helm_efficiency.version import __version__


class StatsTarget(StrEnum):
    """Destination of the stats of HELM runs."""

    copy = "copy"
    in_place = "in-place"
    none = "none"


@dataclass(frozen=True, slots=True)
class Plan:
    """Inputs and options for scoring every run.

    Attributes:
        coefficients: Coefficients of the deployments.
        stacks: Names of the stacks to idealize on; HELM's stats use the first. None means observed facts only.
        pricing: Prices of accelerators and APIs.
        output: Folder of the tables and the copied suites.
        target: Destination of the stats of HELM runs.
        force: Score unchanged runs again.
        caches: HELM's request cache files with their states, for the provider's own token counts.
        fit_hashes: Hash of each fit by stack and deployment, services under the empty stack.
        busy: Load of the busy server that requests are also scored on.
    """

    coefficients: Coefficients
    stacks: tuple[str | None, ...]
    pricing: Pricing
    output: Path
    target: StatsTarget = StatsTarget.copy
    force: bool = False
    caches: tuple[tuple[Path, FileState], ...] = ()
    fit_hashes: Mapping[tuple[str, str], str] = field(default_factory=dict)
    busy: BusyServer = DEFAULT_BUSY_SERVER

    def basis(self, deployments: Sequence[tuple[str, str]]) -> dict[str, Any]:
        """Return everything that the numbers of a run depend on besides its files.

        Args:
            deployments: Pairs of deployment and model in the run.
        """
        return {
            "version": [__version__, SCHEMA_VERSION],
            "stacks": list(self.stacks),
            "target": str(self.target),
            "load": str(self.busy),
            "prices": _sha256(repr((self.pricing.api.own, self.pricing.api.context))),
            "caches": [[str(file), *state] for file, state in self.caches],
            "fits": [self._fits(deployment, model) for deployment, model in deployments],
        }

    def _fits(self, deployment: str, model: str) -> list[Any]:
        api_rates = self.pricing.api_rates(deployment, model)
        used: list[Any] = [deployment, model, self.fit_hashes.get(("", deployment)), api_rates]
        for stack in self.stacks:
            match = self.coefficients.match(stack, deployment, model) if stack else None
            if match is not None:
                fit = match.fit
                price = self.pricing.usd_per_accelerator_hour.get(fit.stack.accelerator)
                power_w = self.coefficients.power_w.get((fit.stack.name, fit.deployment))
                sha256 = self.fit_hashes[fit.stack.name, fit.deployment]
                used.append([match.matched_by, sha256, price and str(price), power_w])
        return used


def make_plan(
    coefficients: Coefficients,
    *,
    stacks: Sequence[str],
    output: Path,
    target: StatsTarget = StatsTarget.copy,
    force: bool = False,
    caches: Sequence[Path] = (),
    pricing: Pricing | None = None,
    busy: BusyServer = DEFAULT_BUSY_SERVER,
) -> Plan:
    """Make a plan from coefficients and prices.

    Args:
        coefficients: All known coefficients.
        stacks: Names of stacks; if empty, the stack with most profiled deployments is used.
        output: Folder of the tables and the copied suites.
        target: Destination of the stats of HELM runs.
        force: Score unchanged runs again.
        caches: Folders of HELM's request caches.
        pricing: Prices; today's if None.
        busy: Load of the busy server that requests are also scored on.

    Returns:
        The plan; its relative paths refer to the current folder.

    Raises:
        InputError: A stack has no coefficients, or a folder has no caches.

    Example:
        >>> from pathlib import Path
        >>> from helm_efficiency import Coefficients, Store, make_plan
        >>> make_plan(Coefficients.from_store(Store()), stacks=[], output=Path("scored")).stacks
        ('a100-80gb-megatron-fp16',)
    """
    for stack in stacks:
        if stack not in coefficients.idealized:
            known = ", ".join(sorted(coefficients.idealized)) or "none"
            raise InputError(f"No coefficients on stack {stack!r}. Known stacks: {known}.")
    hashes = {
        (stack, deployment): fit.sha256()
        for stack, fits in [*coefficients.idealized.items(), ("", coefficients.services)]
        for deployment, fit in fits.items()
    }
    return Plan(
        coefficients,
        tuple(dict.fromkeys(stacks)) or (coefficients.default_stack(),),
        pricing or Pricing.as_of(date.today()),
        output,
        target,
        force,
        tuple((file, state_of(file)) for folder in caches for file in _cache_files(folder)),
        hashes,
        busy,
    )


def _cache_files(folder: Path) -> list[Path]:
    files = sorted(folder.absolute().glob("*.sqlite"))
    if not files:
        raise InputError(f"{folder}: no *.sqlite in it; expected HELM's cache folder, such as prod_env/cache.")
    return files


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
