"""How the draws of a leaderboard are made: instances drawn anew, and errors of prediction that models share.

Models with the same coefficients have the same error: where one is faster, it is faster in every draw. Models on one
stack share a part of the error too if nothing was measured there: if the engine is less efficient than the priors say,
it is so for all of them. What they share cancels when they are compared, but not in the interval of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.measures import MEASURES, QUANTITIES

FITTED = sorted((key for key in QUANTITIES if MEASURES[key].has_interval), key=lambda key: key != "idealized_s")
"""Quantities whose prediction has an interval of its own, in the order in which their errors are drawn."""

STACK_SHARE = 0.8
"""Share of the variance of an error of prediction that all models on a stack have in common, where nothing was measured
on it. Of the log errors of the tier `roofline` on 62 pairs of a model and a stack (A100, H100 and MI300X with vLLM,
TensorRT-LLM and DeepSpeed-MII at batch size 1; Argonne's measurements) it is 87 %, with llama.cpp 96 % of 94. Half of
it (0.4) would make errors of comparison 1.7 times as large."""

_WITHOUT_MEASUREMENTS = (Tier.roofline, Tier.simulated)
"""Tiers whose coefficients no measurement on the stack has corrected."""


@dataclass(frozen=True)
class Predicted:
    """Where the idealized runtimes of models come from, one entry a model.

    Attributes:
        coefficients: Which coefficients: models with the same ones share the error; empty for none.
        tiers: Tier of evidence.
    """

    coefficients: Sequence[str]
    tiers: Sequence[str]


@dataclass(frozen=True)
class Resampling:
    """How draws are made.

    Attributes:
        num_draws: R.
        fit_errors: Standard normal draws by fitted quantity, shape (R, M): one error of prediction for each model, the
            same in every scenario because the coefficients are.
        rng: For the instances.
        common: Compare on the instances that all models answered; else each on its own.
        lower_is_better: Direction of the score.
    """

    num_draws: int
    fit_errors: Mapping[str, FloatArray]
    rng: np.random.Generator
    common: bool
    lower_is_better: bool


def resampling(predicted: Predicted, *, num_draws: int, common: bool, lower_is_better: bool) -> Resampling:
    """Return draws that are the same for the same input, whoever makes them.

    Args:
        predicted: Where the idealized runtimes of the models come from.
        num_draws: R.
        common: Compare on the instances that all models answered.
        lower_is_better: Direction of the score.
    """
    rng = np.random.default_rng(0)
    own = {name: rng.standard_normal((num_draws, len(predicted.tiers))) for name in FITTED}
    errors = own | {"idealized_s": _shared(own["idealized_s"], predicted)}
    return Resampling(num_draws, errors, rng, common, lower_is_better)


def _shared(own: FloatArray, predicted: Predicted) -> FloatArray:
    """Return standard normal errors that models share, out of independent ones; both of shape (R, M)."""
    first: dict[str, int] = {}
    source = [first.setdefault(which, model) if which else model for model, which in enumerate(predicted.coefficients)]
    errors = own[:, source]
    of_stack = np.random.default_rng(1).standard_normal((len(own), 1))  # not of `rng`: instances stay the same draws
    is_unmeasured = np.isin(np.array(predicted.tiers, dtype=str), _WITHOUT_MEASUREMENTS)
    mixed = np.sqrt(STACK_SHARE) * of_stack + np.sqrt(1 - STACK_SHARE) * errors
    result: FloatArray = np.where(is_unmeasured, mixed, errors)
    return result
