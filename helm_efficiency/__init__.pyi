"""Public names: `__init__.py` imports each from its module when it is first used, and type checkers read this file."""

from helm_efficiency.adapters.adapters import Adapter as Adapter
from helm_efficiency.adapters.frame import records_frame as records_frame
from helm_efficiency.adapters.helm.request_cache import RequestCaches as RequestCaches
from helm_efficiency.adapters.record import HarnessRun as HarnessRun
from helm_efficiency.adapters.record import RequestRecord as RequestRecord
from helm_efficiency.adapters.sources import find_sources as find_sources
from helm_efficiency.adapters.sources import read_runs as read_runs
from helm_efficiency.catalog.accelerators import Accelerator as Accelerator
from helm_efficiency.catalog.accelerators import Price as Price
from helm_efficiency.catalog.accelerators import load_accelerators as load_accelerators
from helm_efficiency.catalog.accelerators import prices_as_of as prices_as_of
from helm_efficiency.catalog.architectures import load_architectures as load_architectures
from helm_efficiency.core.cost import IdealizedCost as IdealizedCost
from helm_efficiency.core.cost import co2_g as co2_g
from helm_efficiency.core.cost import estimated_energy_j as estimated_energy_j
from helm_efficiency.core.cost import idealized_cost as idealized_cost
from helm_efficiency.core.cost import mean_power_w as mean_power_w
from helm_efficiency.core.cost import serving_cost as serving_cost
from helm_efficiency.core.cost_per_correct import CostPerCorrect as CostPerCorrect
from helm_efficiency.core.cost_per_correct import cost_per_correct as cost_per_correct
from helm_efficiency.core.fitting.fit import Fit as Fit
from helm_efficiency.core.fitting.fit import fit_profile as fit_profile
from helm_efficiency.core.fitting.fit_all import fit_profiles as fit_profiles
from helm_efficiency.core.fitting.validation import validate as validate
from helm_efficiency.core.measurement import Measurement as Measurement
from helm_efficiency.core.measurement import Profile as Profile
from helm_efficiency.core.measurement import Stack as Stack
from helm_efficiency.core.pareto import pareto_front as pareto_front
from helm_efficiency.core.rules import PrefillRule as PrefillRule
from helm_efficiency.core.rules import Protocol as Protocol
from helm_efficiency.core.runtime_model import Domain as Domain
from helm_efficiency.core.runtime_model import Prediction as Prediction
from helm_efficiency.core.runtime_model import RuntimeCoefficients as RuntimeCoefficients
from helm_efficiency.core.services.denoise import Denoised as Denoised
from helm_efficiency.core.services.denoise import denoise as denoise
from helm_efficiency.core.services.log import ServiceLog as ServiceLog
from helm_efficiency.core.tier import Tier as Tier
from helm_efficiency.core.transfer.architecture import Architecture as Architecture
from helm_efficiency.core.transfer.model import Parallel as Parallel
from helm_efficiency.errors import CatalogError as CatalogError
from helm_efficiency.errors import EfficiencyError as EfficiencyError
from helm_efficiency.errors import FileFormatError as FileFormatError
from helm_efficiency.errors import InputError as InputError
from helm_efficiency.errors import InsufficientMeasurementsError as InsufficientMeasurementsError
from helm_efficiency.errors import OutputError as OutputError
from helm_efficiency.errors import ProfilingError as ProfilingError
from helm_efficiency.errors import StoreError as StoreError
from helm_efficiency.errors import UnknownDeploymentError as UnknownDeploymentError
from helm_efficiency.formats.detect import read_coefficient_files as read_coefficient_files
from helm_efficiency.metrics.efficiency import Coefficients as Coefficients
from helm_efficiency.metrics.efficiency import ScoredRequests as ScoredRequests
from helm_efficiency.metrics.efficiency import score_requests as score_requests
from helm_efficiency.metrics.pricing import Pricing as Pricing
from helm_efficiency.metrics.service_report import service_report as service_report
from helm_efficiency.metrics.services import Service as Service
from helm_efficiency.metrics.services import service_fit as service_fit
from helm_efficiency.metrics.services import services as find_services
from helm_efficiency.metrics.transfer_fits import StackTransfer as StackTransfer
from helm_efficiency.metrics.transfer_fits import load_transfer as load_transfer
from helm_efficiency.metrics.transfer_fits import roofline as roofline
from helm_efficiency.report.board import Leaderboard as Leaderboard
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
from helm_efficiency.report.tables import Tables as Tables
from helm_efficiency.report.tables import load as load_tables
from helm_efficiency.rescoring.plan import StatsTarget as StatsTarget
from helm_efficiency.rescoring.plan import make_plan as make_plan
from helm_efficiency.rescoring.rescore import rescore as rescore
from helm_efficiency.rescoring.rescore import summarize as summarize
from helm_efficiency.store import Store as Store
from helm_efficiency.version import __version__ as __version__

# `X as X` makes a name public; those that are renamed need this list.
__all__ = [
    "LeaderboardOptions",
    "build_leaderboard",
    "find_services",
    "leaderboard_html",
    "load_tables",
    "paper_leaderboard",
    "plot_contention",
    "plot_fit",
    "plot_providers",
    "plot_stacks",
    "plot_tradeoff",
    "save_figure",
]
