"""How efficient each model of an evaluation is, beside how capable, fairly between providers.

    import helm_efficiency as he

    fit = he.Store("efficiency.sqlite").fit("me/model")
    runtime = fit.coefficients.predict(prompt_tokens=[128, 512], output_tokens=64)

What stands in `__all__` is the public surface: docs/python.md lists it and says what is promised of it. Everything else
may change between versions. Each name is imported when it is first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from helm_efficiency.version import __version__ as __version__

if TYPE_CHECKING:
    from helm_efficiency.catalog.accelerators import Accelerator, Price, load_accelerators, prices_as_of
    from helm_efficiency.catalog.architectures import load_architectures
    from helm_efficiency.core.architecture import Architecture
    from helm_efficiency.core.cost import (
        CostPerCorrect,
        IdealizedCost,
        co2_g,
        cost_per_correct,
        estimated_energy_j,
        idealized_cost,
        mean_power_w,
        serving_cost,
    )
    from helm_efficiency.core.denoising import Denoised, denoise
    from helm_efficiency.core.fitting import Fit, fit_profile
    from helm_efficiency.core.measurement import Measurement, Profile, Stack
    from helm_efficiency.core.pareto import pareto_front
    from helm_efficiency.core.runtime_model import Domain, Prediction, RuntimeCoefficients
    from helm_efficiency.core.service_log import ServiceLog
    from helm_efficiency.core.transfer import Parallel
    from helm_efficiency.core.validation import validate
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
    from helm_efficiency.harness.archives import Adapter, read_runs
    from helm_efficiency.harness.coefficient_files import read_coefficient_files
    from helm_efficiency.harness.efficiency import Coefficients, ScoredRequests, score_requests
    from helm_efficiency.harness.helm_cache import RequestCaches
    from helm_efficiency.harness.pricing import Pricing
    from helm_efficiency.harness.records import HarnessRun, RequestRecord
    from helm_efficiency.profiling.fits import fit_profiles
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
    from helm_efficiency.scoring.frames import records_frame
    from helm_efficiency.scoring.plan import StatsTarget, make_plan
    from helm_efficiency.scoring.rescore import rescore, summarize
    from helm_efficiency.scoring.service_report import service_report
    from helm_efficiency.scoring.services import Service, service_fit
    from helm_efficiency.scoring.services import services as find_services
    from helm_efficiency.scoring.sources import find_sources
    from helm_efficiency.scoring.transfers import StackTransfer, load_transfer, roofline
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
    "Price",
    "Pricing",
    "Profile",
    "ProfilingError",
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
    "Adapter": "harness.archives",
    "Architecture": "core.architecture",
    "CatalogError": "errors",
    "Coefficients": "harness.efficiency",
    "CostPerCorrect": "core.cost",
    "Denoised": "core.denoising",
    "Domain": "core.runtime_model",
    "EfficiencyError": "errors",
    "FileFormatError": "errors",
    "Fit": "core.fitting",
    "HarnessRun": "harness.records",
    "IdealizedCost": "core.cost",
    "InputError": "errors",
    "InsufficientMeasurementsError": "errors",
    "Leaderboard": "report.board",
    "LeaderboardOptions": "report.board:Options",
    "Measurement": "core.measurement",
    "OutputError": "errors",
    "Parallel": "core.transfer",
    "Prediction": "core.runtime_model",
    "Price": "catalog.accelerators",
    "Pricing": "harness.pricing",
    "Profile": "core.measurement",
    "ProfilingError": "errors",
    "RequestCaches": "harness.helm_cache",
    "RequestRecord": "harness.records",
    "RuntimeCoefficients": "core.runtime_model",
    "ScoredRequests": "harness.efficiency",
    "Service": "scoring.services",
    "ServiceLog": "core.service_log",
    "Stack": "core.measurement",
    "StackTransfer": "scoring.transfers",
    "StatsTarget": "scoring.plan",
    "Store": "store",
    "StoreError": "errors",
    "Tables": "report.tables",
    "UnknownDeploymentError": "errors",
    "build_leaderboard": "report.leaderboard:build",
    "co2_g": "core.cost",
    "cost_per_correct": "core.cost",
    "denoise": "core.denoising",
    "estimated_energy_j": "core.cost",
    "find_services": "scoring.services:services",
    "find_sources": "scoring.sources",
    "fit_profile": "core.fitting",
    "fit_profiles": "profiling.fits",
    "idealized_cost": "core.cost",
    "leaderboard_html": "report.html:to_html",
    "load_accelerators": "catalog.accelerators",
    "load_architectures": "catalog.architectures",
    "load_tables": "report.tables:load",
    "load_transfer": "scoring.transfers",
    "make_plan": "scoring.plan",
    "mean_power_w": "core.cost",
    "paper_leaderboard": "report.paper:leaderboard",
    "pareto_front": "core.pareto",
    "plot_contention": "report.plots.runtimes:contention",
    "plot_fit": "report.plots.fit:fit_quality",
    "plot_providers": "report.plots.runtimes:providers",
    "plot_stacks": "report.plots.runtimes:stacks",
    "plot_tradeoff": "report.plots.tradeoff:tradeoff",
    "prices_as_of": "catalog.accelerators",
    "read_coefficient_files": "harness.coefficient_files",
    "read_runs": "harness.archives",
    "records_frame": "scoring.frames",
    "rescore": "scoring.rescore",
    "roofline": "scoring.transfers",
    "save_figure": "report.plots.style:save",
    "score_requests": "harness.efficiency",
    "service_fit": "scoring.services",
    "service_report": "scoring.service_report",
    "serving_cost": "core.cost",
    "summarize": "scoring.rescore",
    "validate": "core.validation",
}
"""Where each name is at home: a module of this package and, where it is called otherwise there, its name."""


if not TYPE_CHECKING:  # else a type checker would take any name for one of ours

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
