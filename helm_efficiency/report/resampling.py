"""Make the draws of a leaderboard: resampled instances, and errors of prediction that models share.

Models with the same coefficients have the same error: if one of them is faster, it is faster in every draw. Models on
one stack share a part of the error too if nothing was measured there: if the engine is less efficient than the priors
say, it is so for all of them. The shared part cancels when models are compared, but not in the interval of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.measures import MEASURES

FITTED = sorted((key for key, it in MEASURES.items() if it.has_interval), key=lambda key: not MEASURES[key].is_on_stack)
"""Quantities with an interval of their own prediction, in the order in which their errors are drawn."""

STACK_SHARE = 0.8
"""Share of the variance of an error of prediction that all models on a stack have in common, if nothing was measured
on it. Measured on the log errors of the tier `roofline`, it is 87 % on 62 pairs of a model and a stack (A100, H100 and
MI300X with vLLM, TensorRT-LLM and DeepSpeed-MII at batch size 1; Argonne's measurements), and with llama.cpp 96 % on 94
pairs. Half of the share (0.4) would make errors of comparison 1.7 times as large."""

_WITHOUT_MEASUREMENTS = (Tier.roofline, Tier.simulated)
"""Tiers of coefficients that no measurement on the stack has corrected."""


@dataclass(frozen=True)
class Predicted:
    """Origin of the idealized runtimes of models, with one entry for each model.

    Attributes:
        coefficients: Identity of the coefficients; models with the same ones share the error. Empty for none.
        tiers: Tier of evidence.
    """

    coefficients: Sequence[str]
    tiers: Sequence[str]


@dataclass(frozen=True)
class Resampling:
    """Settings of the draws.

    Attributes:
        num_draws: Number of draws, R.
        fit_errors: Standard normal draws by fitted quantity, shape (R, M): one error of prediction for each model. It
            is the same in every scenario because the coefficients are the same.
        rng: Random generator of the instances.
        common: True to compare on the instances that all models answered; False to compare each model on its own ones.
        lower_is_better: Direction of the score.
    """

    num_draws: int
    fit_errors: Mapping[str, FloatArray]
    rng: np.random.Generator
    common: bool
    lower_is_better: bool


def resampling(predicted: Predicted, *, num_draws: int, common: bool, lower_is_better: bool) -> Resampling:
    """Return draws that depend on the input alone, so that every caller gets the same ones.

    Args:
        predicted: Origin of the idealized runtimes of the models.
        num_draws: Number of draws, R.
        common: True to compare on the instances that all models answered.
        lower_is_better: Direction of the score.
    """
    rng = np.random.default_rng(0)
    own = {name: rng.standard_normal((num_draws, len(predicted.tiers))) for name in FITTED}
    errors = own | {"idealized_s": _shared(own["idealized_s"], predicted)}
    return Resampling(num_draws, errors, rng, common, lower_is_better)


def _shared(own: FloatArray, predicted: Predicted) -> FloatArray:
    """Return standard normal errors that models share, made from independent ones; both have shape (R, M)."""
    first: dict[str, int] = {}
    source = [first.setdefault(which, model) if which else model for model, which in enumerate(predicted.coefficients)]
    errors = own[:, source]
    of_stack = np.random.default_rng(1).standard_normal((len(own), 1))  # not from `rng`: keeps the draws of instances
    is_unmeasured = np.isin(np.array(predicted.tiers, dtype=str), _WITHOUT_MEASUREMENTS)
    mixed = np.sqrt(STACK_SHARE) * of_stack + np.sqrt(1 - STACK_SHARE) * errors
    result: FloatArray = np.where(is_unmeasured, mixed, errors)
    return result
