"""Turn requests into means with paired bootstrap draws, one scenario at a time.

Shapes: M models, C clusters (an instance with its perturbed copies and trials is one cluster, drawn as one), R draws.
A quantity is a mean over requests, the score a mean over instances.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import norm, rankdata

from helm_efficiency.catalog.score_scales import counts_correct_answers, is_lower_better
from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.core.bootstrap import LEVEL, bootstrap_weights
from helm_efficiency.core.cost_per_correct import AnswerMoments, widened
from helm_efficiency.metrics.measures import MEASURES, PER_CORRECT, QUANTITIES
from helm_efficiency.report.resampling import FITTED, Resampling

_OF_FACTOR = {"denoised_s": "denoised_of_factor_s", "idealized_s": "idealized_of_factor_s"}
"""Means over the requests that have both and no doubtful count, so that a factor compares the same tokens."""


@dataclass(frozen=True)
class Estimates:
    """Estimates of all measures of all models in one scenario, or over all scenarios.

    Attributes:
        values: Values by measure, shape (M,); NaN if missing.
        draws: Draws by measure, shape (R, M); models are drawn jointly.
        known: Number of requests (score: instances) that a mean covers, by quantity, shape (M,).
        score_answered: Mean score over all instances that the model answered, compared or not, shape (M,).
        moments: Moments of cost and score by quantity of `PER_CORRECT`, for the interval of a correct answer's cost.
        num_requests: Number of compared requests, shape (M,).
        num_instances: Number of compared instances, shape (M,).
        num_answered: Number of instances that the model answered, compared or not, shape (M,).
        num_scenarios: Number of scenarios of which the model answered any instance, shape (M,).
        score_names: Names of the scores.
        lower_is_better: Direction of the score.
    """

    values: dict[str, FloatArray]
    draws: dict[str, FloatArray]
    known: dict[str, IntArray]
    score_answered: FloatArray
    moments: dict[str, AnswerMoments]
    num_requests: IntArray
    num_instances: IntArray
    num_answered: IntArray
    num_scenarios: IntArray
    score_names: tuple[str, ...] = ()
    lower_is_better: bool = False

    def cost_interval(self, quantity: str) -> tuple[FloatArray, FloatArray]:
        """Return the 90 % interval of the cost of a correct answer, shape (M,) each.

        The interval includes the sampling error of the instances and the error of the predicted runtime.
        """
        value = self.values[f"{quantity}_per_correct"]
        root = MEASURES[quantity].fitted_to
        columns = MEASURES[root].interval_columns if root else ()
        errors = [ratio(self.values[end], self.values[root]) for end in columns if end in self.values]
        low, high = errors or (np.ones_like(value), np.ones_like(value))
        factor = np.nan_to_num(low, nan=1.0), np.nan_to_num(high, nan=1.0)
        ends = widened(value, self.moments[quantity].interval(), factor)
        return np.where(np.isnan(value), np.nan, ends[0]), np.where(np.isnan(value), np.nan, ends[1])


def scenario_estimates(requests: pd.DataFrame, models: IntArray, num_models: int, how: Resampling) -> Estimates:
    """Return the estimates of one scenario on one stack.

    Args:
        requests: Rows of the requests table.
        models: Index of the model of each row.
        num_models: Number of models, M.
        how: Settings of the draws and of the comparison.
    """
    instances = requests.groupby(["instance_id", "train_trial", "perturbation"], dropna=False, observed=True).ngroup()
    instance = instances.to_numpy()
    shape = (num_models, int(instance.max()) + 1)
    cell = models * shape[1] + instance
    failed = ~requests["success"].fillna(True).to_numpy(dtype=bool)
    asked = np.bincount(cell, minlength=shape[0] * shape[1]).reshape(shape)
    answered = (asked > 0) & (np.bincount(cell, failed, asked.size).reshape(shape) == 0)
    present = answered.any(axis=1)
    compared = _compared(answered) if how.common else answered

    # all requests of an instance (for example one per choice) carry its score, which is counted once
    score = requests["score"].to_numpy(dtype=float)
    share = 1 / np.maximum(np.bincount(cell, ~np.isnan(score), asked.size), 1)[cell]
    rows = compared[models, instance]
    cluster, clusters = pd.factorize(requests["instance_id"][rows], sort=True)
    means = _Means(
        at=models[rows] * len(clusters) + cluster,
        shape=(num_models, len(clusters)),
        weights=bootstrap_weights(len(clusters), num_resamples=how.num_draws, rng=how.rng),
    )
    values, draws, known = _request_means(requests[rows], means, how)
    values["score"], draws["score"], known["score"] = means.of(score[rows], share[rows])
    trials = means.counts(1 / np.maximum(np.bincount(cell, minlength=asked.size), 1)[cell[rows]])
    correct = means.per_unit(score[rows] * share[rows], trials)
    num_requests, num_instances = np.bincount(models[rows], minlength=num_models), compared.sum(axis=1)
    per_instance = num_requests / np.maximum(num_instances, 1)
    score_names = tuple(sorted(requests["score_name"].dropna().unique()))
    for table in (values, draws):
        table["correct"] = np.where(counts_correct_answers(score_names), table["score"], np.nan)
    lower_is_better = how.lower_is_better or is_lower_better(score_names)
    is_answer = answered[models, instance] & ~np.isnan(score)
    moments = {
        name: AnswerMoments.of(means.per_unit(_reals(requests[rows], name), trials), correct) for name in PER_CORRECT
    }
    return Estimates(
        with_ratios(values, per_instance, lower_is_better=lower_is_better),
        with_ratios(draws, per_instance, lower_is_better=lower_is_better),
        known,
        score_answered=ratio(
            np.bincount(models[is_answer], (score * share)[is_answer], num_models).astype(float),
            np.bincount(models[is_answer], share[is_answer], num_models).astype(float),
        ),
        moments=moments,
        num_requests=num_requests,
        num_instances=num_instances,
        num_answered=answered.sum(axis=1),
        num_scenarios=present.astype(np.int64),
        score_names=score_names,
        lower_is_better=lower_is_better,
    )


STRAY_SHARE = 0.1
"""Share of the most complete model's answers, up to which a model is not compared: a run of a single instance would
leave one instance for all. At 5 % or 20 % the same runs of the archives in the tests are left out."""


def _compared(answered: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return which answers are compared, shape (M, instances): those that all models except stray ones gave."""
    numbers = answered.sum(axis=1)
    is_stray = numbers <= STRAY_SHARE * numbers.max(initial=0)
    compared: npt.NDArray[np.bool_] = answered & answered[~is_stray].all(axis=0) & ~is_stray[:, np.newaxis]
    return compared


@dataclass(frozen=True)
class _Means:
    """Means by model with their draws; `at` is the flat (model, cluster) index of each row."""

    at: IntArray
    shape: tuple[int, int]
    weights: FloatArray

    def of(self, column: FloatArray, share: FloatArray | None = None) -> tuple[FloatArray, FloatArray, IntArray]:
        """Return mean (M,), draws (R, M) and number of known values (M,) of a column; each row counts `share`."""
        is_known = ~np.isnan(column)
        count = is_known if share is None else is_known * share
        sums = self._by_cluster(np.where(is_known, column, 0) * count)
        counts = self._by_cluster(count)
        values = ratio(sums.sum(axis=1), counts.sum(axis=1))
        if counts.any():
            draws = ratio(self.weights @ sums.T, self.weights @ counts.T)
        else:
            draws = np.full((len(self.weights), self.shape[0]), np.nan)
        return values, draws, counts.sum(axis=1).round().astype(np.int64)

    def counts(self, share: FloatArray) -> FloatArray:
        """Return the number of units of each cluster, shape (M, C); each row counts `share` of one unit."""
        return self._by_cluster(share)

    def per_unit(self, column: FloatArray, units: FloatArray) -> FloatArray:
        """Return the mean over the units of each cluster, shape (M, C); NaN if a row is unknown or missing."""
        total = self._by_cluster(column)
        result: FloatArray = np.divide(total, units, out=np.full(units.shape, np.nan), where=units > 0)
        return result

    def _by_cluster(self, weights: npt.NDArray[np.generic]) -> FloatArray:
        flat = np.bincount(self.at, weights, self.shape[0] * self.shape[1]).astype(float)
        return flat.reshape(self.shape)


def _request_means(
    requests: pd.DataFrame, means: _Means, how: Resampling
) -> tuple[dict[str, FloatArray], dict[str, FloatArray], dict[str, IntArray]]:
    values, draws, known = {}, {}, {}
    for name in QUANTITIES:
        values[name], draws[name], known[name] = means.of(_reals(requests, name))
    for name, bound in (("api_usd", "api_usd_at_least"), ("denoised_s", "denoised_s_at_most")):
        is_bound = known[bound] > known[name]  # the two means must cover the same requests
        for table in (values, draws):
            table[name] = np.where(is_bound, np.nan, table[name])
    errors: dict[str, FloatArray] = {}
    for fitted in FITTED:
        ends = {column: means.of(_reals(requests, column))[0] for column in MEASURES[fitted].interval_columns}
        values |= ends
        low, high = ends.values()
        error = how.fit_errors[fitted]
        half_width = np.where(error < 0, values[fitted] - low, high - values[fitted]) / norm.ppf((1 + LEVEL) / 2)
        factor = np.maximum(1 + error * np.nan_to_num(ratio(half_width, values[fitted])), 0)
        for name in QUANTITIES:
            if MEASURES[name].fitted_to == fitted:
                draws[name] = draws[name] * factor
        errors[fitted] = factor
    both = requests["denoised_s"].notna() & requests["idealized_s"].notna() & requests["doubts"].isna()
    for name, of_factor in _OF_FACTOR.items():
        column = requests[name].where(both).to_numpy(dtype=float, na_value=np.nan)
        values[of_factor], drawn, _ = means.of(column)
        draws[of_factor] = drawn * errors[name]
    return values, draws, known


def _reals(requests: pd.DataFrame, column: str) -> FloatArray:
    return requests[column].to_numpy(dtype=float, na_value=np.nan)


def with_ratios(
    means: Mapping[str, FloatArray], requests_per_instance: npt.NDArray[Any], *, lower_is_better: bool = False
) -> dict[str, FloatArray]:
    """Return means by quantity, with the win rate, the provider factor and the cost of a correct answer added.

    `X_per_instance` is added for each quantity of `PER_CORRECT` too; it is the base of ratios over several scenarios.
    """
    table = dict(means)
    table["win_rate"] = _win_rates(table["score"], lower_is_better=lower_is_better)
    table |= {f"{name}_per_instance": table[name] * requests_per_instance for name in PER_CORRECT if name in table}
    return table | ratios(table)


def ratios(table: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the provider factor and the costs of a correct answer, computed from means."""
    correct = table.get("correct", table["score"])  # published results are accuracies
    correct = np.where((correct >= 0) & (correct <= 1), correct, np.nan)
    per_correct = {
        f"{name}_per_correct": ratio(table[f"{name}_per_instance"], correct, inf=True)
        for name in PER_CORRECT
        if f"{name}_per_instance" in table
    }
    denoised, idealized = (table.get(of_factor, table[name]) for name, of_factor in _OF_FACTOR.items())
    return {"provider_factor": ratio(denoised, idealized), **per_correct}


def _win_rates(score: FloatArray, *, lower_is_better: bool) -> FloatArray:
    """Return the share of other models beaten; a tie counts half. NaN for a model that is alone or has no score."""
    known = ~np.isnan(score)
    num_known = known.sum(axis=-1, keepdims=True)
    # models without a score take the lowest ranks, which are then not counted
    ranks = rankdata(np.where(known, -score if lower_is_better else score, -np.inf), axis=-1)
    beaten = ranks - 1 - (score.shape[-1] - num_known)
    return ratio(np.where(known, beaten, np.nan), np.broadcast_to(num_known - 1.0, score.shape))


def ratio(top: FloatArray, bottom: FloatArray, *, inf: bool = False) -> FloatArray:
    """Return a quotient; if the bottom is 0, it is NaN or (with `inf`) infinity."""
    shape = np.broadcast_shapes(top.shape, bottom.shape)
    out = np.full(shape, np.inf if inf else np.nan)
    result: FloatArray = np.divide(top, bottom, out=out, where=np.broadcast_to(bottom != 0, shape))
    return np.where(np.isnan(top), np.nan, result)
