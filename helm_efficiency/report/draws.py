"""The draws that a leaderboard keeps for the HTML page, which compares pairs of models and redraws fronts with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.runtime_model import RuntimeCoefficients
from helm_efficiency.metrics.measures import MEASURES
from helm_efficiency.report.estimates import Estimates
from helm_efficiency.report.notes import ALL

_OF_ALL = (
    *("score", "win_rate", "observed_s", "denoised_s", "idealized_s", "provider_factor"),
    *("loaded_s", "loaded_accelerator_s", "api_usd"),
)
"""Measures whose draws are kept over all scenarios; those of the others are proportional to one of them."""

_OF_SCENARIO = ("score", "observed_s", "denoised_s", "idealized_s", "api_usd")
"""Measures whose draws are kept for each scenario: a page of 50 scenarios has no room for more."""


@dataclass(frozen=True)
class StackDraws:
    """Draws of one stack, and the coefficients behind its idealized runtimes.

    Attributes:
        names: Names of the models, M, in the order of the arrays.
        fit_errors: Standard normal errors of the idealized runtimes, shape (R, M).
        scenarios: Draws by scenario and measure, shape (R, M).
        coefficients: Coefficients by model; models without any are left out.
    """

    names: Sequence[str]
    fit_errors: FloatArray
    scenarios: Mapping[str, Mapping[str, FloatArray]]
    coefficients: Mapping[str, RuntimeCoefficients]


def drawn_as(measure: str) -> str:
    """Return the measure whose draws, times a constant, are those of another one.

    >>> drawn_as("idealized_usd"), drawn_as("loaded_usd"), drawn_as("score")
    ('idealized_s', 'loaded_accelerator_s', 'score')
    """
    base = measure.removesuffix("_per_correct")
    if base in _OF_ALL:
        return base
    return "loaded_accelerator_s" if base.startswith("loaded") else MEASURES[base].fitted_to or base


def kept_draws(estimates: Mapping[str, Estimates]) -> dict[str, dict[str, FloatArray]]:
    """Return the draws to keep of each scenario, and of all together."""
    return {
        scenario: {
            name: found.draws[name] for name in (_OF_ALL if scenario == ALL else _OF_SCENARIO) if name in found.draws
        }
        for scenario, found in estimates.items()
    }
