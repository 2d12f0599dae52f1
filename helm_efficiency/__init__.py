"""Measure how efficient each model of an evaluation is, in addition to how capable, fairly between providers.

    import helm_efficiency as he

    fit = he.Store("efficiency.sqlite").fit("me/model")
    runtime = fit.coefficients.predict(prompt_tokens=[128, 512], output_tokens=64)

The names in `__all__` are the public interface: docs/python.md lists them and says what is promised. Everything else
may change between versions. Each name is imported when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from helm_efficiency.version import __version__ as __version__

if TYPE_CHECKING:
    from helm_efficiency.adapters.adapters import Adapter
    from helm_efficiency.adapters.frame import records_frame
    from helm_efficiency.adapters.helm.request_cache import RequestCaches
    from helm_efficiency.adapters.record import HarnessRun, RequestRecord
    from helm_efficiency.adapters.sources import find_sources, read_runs
    from helm_efficiency.catalog.accelerators import Accelerator, Price, load_accelerators, prices_as_of
    from helm_efficiency.catalog.architectures import load_architectures
    from helm_efficiency.core.cost import (
        IdealizedCost,
        co2_g,
        estimated_energy_j,
        idealized_cost,
        mean_power_w,
        serving_cost,
    )
    from helm_efficiency.core.cost_per_correct import CostPerCorrect, cost_per_correct
    from helm_efficiency.core.fitting.fit import Fit, fit_profile
    from helm_efficiency.core.fitting.fit_all import fit_profiles
    from helm_efficiency.core.fitting.validation import validate
    from helm_efficiency.core.measurement import Measurement, Profile, Stack
    from helm_efficiency.core.pareto import pareto_front
    from helm_efficiency.core.rules import PrefillRule, Protocol
    from helm_efficiency.core.runtime_model import Domain, Prediction, RuntimeCoefficients
    from helm_efficiency.core.services.denoise import Denoised, denoise
    from helm_efficiency.core.services.log import ServiceLog
    from helm_efficiency.core.tier import Tier
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.core.transfer.model import Parallel
    from helm_efficiency.errors import (
        CatalogError,
        EfficiencyError,
        FileFormatError,
        InputError,
        InsufficientMeasurementsError,
        OutputError,
        ProfilingError,
        StoreError,
        UnknownDeploymentError,
    )
    from helm_efficiency.formats.detect import read_coefficient_files
    from helm_efficiency.metrics.efficiency import Coefficients, ScoredRequests, score_requests
    from helm_efficiency.metrics.pricing import Pricing
    from helm_efficiency.metrics.service_report import service_report
    from helm_efficiency.metrics.services import Service, service_fit
    from helm_efficiency.metrics.services import services as find_services
    from helm_efficiency.metrics.transfer_fits import StackTransfer, load_transfer, roofline
    from helm_efficiency.report.board import Leaderboard
    from helm_efficiency.report.board import Options as LeaderboardOptions
    from helm_efficiency.report.html import to_html as leaderboard_html
    from helm_efficiency.report.leaderboard import build as build_leaderboard
    from helm_efficiency.report.paper import leaderboard as paper_leaderboard
    from helm_efficiency.report.plots.fit import fit_quality as plot_fit
    from helm_efficiency.report.plots.runtimes import contention as plot_contention
    from helm_efficiency.report.plots.runtimes import providers as plot_providers
    from helm_efficiency.report.plots.runtimes import stacks as plot_stacks
    from helm_efficiency.report.plots.style import save as save_figure
    from helm_efficiency.report.plots.tradeoff import tradeoff as plot_tradeoff
    from helm_efficiency.report.tables import Tables
    from helm_efficiency.report.tables import load as load_tables
    from helm_efficiency.rescoring.plan import StatsTarget, make_plan
    from helm_efficiency.rescoring.rescore import rescore, summarize
    from helm_efficiency.store import Store

__all__ = [
    "Accelerator",
    "Adapter",
    "Architecture",
    "CatalogError",
    "Coefficients",
    "CostPerCorrect",
    "Denoised",
    "Domain",
    "EfficiencyError",
    "FileFormatError",
    "Fit",
    "HarnessRun",
    "IdealizedCost",
    "InputError",
    "InsufficientMeasurementsError",
    "Leaderboard",
    "LeaderboardOptions",
    "Measurement",
    "OutputError",
    "Parallel",
    "Prediction",
    "PrefillRule",
    "Price",
    "Pricing",
    "Profile",
    "ProfilingError",
    "Protocol",
    "RequestCaches",
    "RequestRecord",
    "RuntimeCoefficients",
    "ScoredRequests",
    "Service",
    "ServiceLog",
    "Stack",
    "StackTransfer",
    "StatsTarget",
    "Store",
    "StoreError",
    "Tables",
    "Tier",
    "UnknownDeploymentError",
    "__version__",
    "build_leaderboard",
    "co2_g",
    "cost_per_correct",
    "denoise",
    "estimated_energy_j",
    "find_services",
    "find_sources",
    "fit_profile",
    "fit_profiles",
    "idealized_cost",
    "leaderboard_html",
    "load_accelerators",
    "load_architectures",
    "load_tables",
    "load_transfer",
    "make_plan",
    "mean_power_w",
    "paper_leaderboard",
    "pareto_front",
    "plot_contention",
    "plot_fit",
    "plot_providers",
    "plot_stacks",
    "plot_tradeoff",
    "prices_as_of",
    "read_coefficient_files",
    "read_runs",
    "records_frame",
    "rescore",
    "roofline",
    "save_figure",
    "score_requests",
    "service_fit",
    "service_report",
    "serving_cost",
    "summarize",
    "validate",
]

_HOMES: dict[str, str] = {
    "Accelerator": "catalog.accelerators",
    "Adapter": "adapters.adapters",
    "Architecture": "core.transfer.architecture",
    "CatalogError": "errors",
    "Coefficients": "metrics.efficiency",
    "CostPerCorrect": "core.cost_per_correct",
    "Denoised": "core.services.denoise",
    "Domain": "core.runtime_model",
    "EfficiencyError": "errors",
    "FileFormatError": "errors",
    "Fit": "core.fitting.fit",
    "HarnessRun": "adapters.record",
    "IdealizedCost": "core.cost",
    "InputError": "errors",
    "InsufficientMeasurementsError": "errors",
    "Leaderboard": "report.board",
    "LeaderboardOptions": "report.board:Options",
    "Measurement": "core.measurement",
    "OutputError": "errors",
    "Parallel": "core.transfer.model",
    "Prediction": "core.runtime_model",
    "PrefillRule": "core.rules",
    "Price": "catalog.accelerators",
    "Pricing": "metrics.pricing",
    "Profile": "core.measurement",
    "ProfilingError": "errors",
    "Protocol": "core.rules",
    "RequestCaches": "adapters.helm.request_cache",
    "RequestRecord": "adapters.record",
    "RuntimeCoefficients": "core.runtime_model",
    "ScoredRequests": "metrics.efficiency",
    "Service": "metrics.services",
    "ServiceLog": "core.services.log",
    "Stack": "core.measurement",
    "StackTransfer": "metrics.transfer_fits",
    "StatsTarget": "rescoring.plan",
    "Store": "store",
    "StoreError": "errors",
    "Tables": "report.tables",
    "Tier": "core.tier",
    "UnknownDeploymentError": "errors",
    "build_leaderboard": "report.leaderboard:build",
    "co2_g": "core.cost",
    "cost_per_correct": "core.cost_per_correct",
    "denoise": "core.services.denoise",
    "estimated_energy_j": "core.cost",
    "find_services": "metrics.services:services",
    "find_sources": "adapters.sources",
    "fit_profile": "core.fitting.fit",
    "fit_profiles": "core.fitting.fit_all",
    "idealized_cost": "core.cost",
    "leaderboard_html": "report.html:to_html",
    "load_accelerators": "catalog.accelerators",
    "load_architectures": "catalog.architectures",
    "load_tables": "report.tables:load",
    "load_transfer": "metrics.transfer_fits",
    "make_plan": "rescoring.plan",
    "mean_power_w": "core.cost",
    "paper_leaderboard": "report.paper:leaderboard",
    "pareto_front": "core.pareto",
    "plot_contention": "report.plots.runtimes:contention",
    "plot_fit": "report.plots.fit:fit_quality",
    "plot_providers": "report.plots.runtimes:providers",
    "plot_stacks": "report.plots.runtimes:stacks",
    "plot_tradeoff": "report.plots.tradeoff:tradeoff",
    "prices_as_of": "catalog.accelerators",
    "read_coefficient_files": "formats.detect",
    "read_runs": "adapters.sources",
    "records_frame": "adapters.frame",
    "rescore": "rescoring.rescore",
    "roofline": "metrics.transfer_fits",
    "save_figure": "report.plots.style:save",
    "score_requests": "metrics.efficiency",
    "service_fit": "metrics.services",
    "service_report": "metrics.service_report",
    "serving_cost": "core.cost",
    "summarize": "rescoring.rescore",
    "validate": "core.fitting.validation",
}
"""Module of this package that defines each name, followed by the name in that module if it differs."""


if not TYPE_CHECKING:  # otherwise a type checker would accept any name

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module, _, name_there = _HOMES[name].partition(":")
        found: object = getattr(import_module(f"{__name__}.{module}"), name_there or name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
