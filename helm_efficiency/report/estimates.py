"""Turn requests into means with paired bootstrap draws, one scenario at a time.

Shapes: M models, C clusters (an instance with its perturbed copies and trials is one cluster, drawn as one), R draws.
A quantity is a mean over requests, the score a mean over instances.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from statistics import NormalDist
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from helm_efficiency.catalog.score_scales import counts_correct_answers, is_lower_better
from helm_efficiency.core.arrays import BoolArray, FloatArray, IntArray
from helm_efficiency.core.bootstrap import LEVEL, bootstrap_weights, ranks
from helm_efficiency.core.cost_per_correct import AnswerMoments, widened
from helm_efficiency.metrics.measures import MEASURES, PER_CORRECT, QUANTITIES
from helm_efficiency.report.resampling import FITTED, Resampling

_OF_FACTOR = {"denoised_s": "denoised_of_factor_s", "idealized_s": "idealized_of_factor_s"}
"""Means over the requests that have both and no doubtful count, so that a factor compares the same tokens."""

_AMOUNTS = (*QUANTITIES, *(end for name in FITTED for end in MEASURES[name].interval_columns), *_OF_FACTOR.values())
"""Columns of `Answers.amounts`."""

_PER_CORRECT = [_AMOUNTS.index(name) for name in PER_CORRECT]


@dataclass(frozen=True)
class Answers:
    """Columns of the requests table that estimates are made from, as arrays with one entry for each of n requests.

    Attributes:
        models: Index of the model.
        instances: Number of the instance, perturbation and trial; those of one scenario are consecutive.
        clusters: Number of the instance alone.
        failed: Whether the request failed.
        scores: Score of the instance.
        score_names: Name of the score; None or NaN without one.
        amounts: Values of `_AMOUNTS`, shape (n, columns); NaN if missing.
    """

    models: IntArray
    instances: IntArray
    clusters: IntArray
    failed: BoolArray
    scores: FloatArray
    score_names: npt.NDArray[np.object_]
    amounts: FloatArray

    @classmethod
    def of(cls, requests: pd.DataFrame, models: IntArray) -> Self:
        """Return the arrays of a requests table; `models` is the index of each row's model."""
        keys = ["scenario", "instance_id", "train_trial", "perturbation"]
        instances, clusters = (
            np.asarray(requests.groupby(some, dropna=False, observed=True).ngroup(), dtype=np.int64)
            for some in (keys, keys[:2])
        )
        both = requests["denoised_s"].notna() & requests["idealized_s"].notna() & requests["doubts"].isna()
        columns = {name: _reals(requests[name]) for name in _AMOUNTS if name in requests}
        columns |= {of_factor: np.where(both, columns[name], np.nan) for name, of_factor in _OF_FACTOR.items()}
        return cls(
            models,
            instances,
            clusters,
            failed=~requests["success"].fillna(True).to_numpy(dtype=bool),
            scores=_reals(requests["score"]),
            score_names=requests["score_name"].to_numpy(dtype=object),
            amounts=np.column_stack([columns[name] for name in _AMOUNTS]),
        )

    def where(self, rows: BoolArray | IntArray) -> Self:
        """Return the requests that a mask or an array of indices selects."""
        return type(self)(*(getattr(self, field.name)[rows] for field in fields(self)))


def _reals(column: pd.Series) -> FloatArray:
    return column.to_numpy(dtype=float, na_value=np.nan)


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

    @classmethod
    def stacked(cls, parts: Sequence["Estimates"]) -> Self:
        """Return the estimates of several tables of the same models as arrays with one more axis before the models."""
        arrays: dict[str, Any] = {
            name: {key: np.stack([getattr(part, name)[key] for part in parts]) for key in getattr(parts[0], name)}
            for name in ("values", "known")
        }
        arrays["draws"] = {
            name: np.stack([part.draws[name] for part in parts], axis=1) for name in parts[0].draws if name in MEASURES
        }
        arrays |= {
            name: np.stack([getattr(part, name) for part in parts])
            for name in ("score_answered", "num_requests", "num_instances", "num_answered", "num_scenarios")
        }
        moments = {name: AnswerMoments.stacked([part.moments[name] for part in parts]) for name in parts[0].moments}
        return cls(**arrays, moments=moments)

    def cost_interval(self, quantity: str) -> tuple[FloatArray, FloatArray]:
        """Return the 90 % interval of the cost of a correct answer, low and high ends.

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


def scenario_estimates(answers: Answers, num_models: int, how: Resampling) -> Estimates:
    """Return the estimates of one scenario on one stack.

    Args:
        answers: Requests of the scenario.
        num_models: Number of models, M.
        how: Settings of the draws and of the comparison.
    """
    models, instance = answers.models, answers.instances - answers.instances.min()
    shape = (num_models, int(instance.max()) + 1)
    cell = models * shape[1] + instance
    asked = np.bincount(cell, minlength=shape[0] * shape[1])
    answered = ((asked > 0) & (np.bincount(cell, answers.failed, asked.size) == 0)).reshape(shape)
    compared = _compared(answered) if how.common else answered

    # all requests of an instance (for example one per choice) carry its score, which is counted once
    score = answers.scores
    share = 1 / np.maximum(np.bincount(cell, ~np.isnan(score), asked.size), 1)[cell]
    rows = compared[models, instance]
    some = answers.where(rows)
    clusters, cluster = np.unique(some.clusters, return_inverse=True)
    means = _Means(
        at=some.models * len(clusters) + cluster,
        shape=(num_models, len(clusters)),
        weights=bootstrap_weights(len(clusters), num_resamples=how.num_draws, rng=how.rng),
        units=1 / asked[cell[rows]],
    )
    values, draws, known, errors = _request_means(some.amounts, means, how)
    of_score = means.of(score[rows, np.newaxis], share[rows, np.newaxis])
    values["score"], draws["score"], known["score"] = of_score.values[0], of_score.draws[0], of_score.known[0]
    score_names = tuple(sorted({name for name in answers.score_names if isinstance(name, str)}))
    correct = score[rows] * share[rows] if counts_correct_answers(score_names) else np.full(len(cluster), np.nan)
    moments, *drawn = means.per_correct(some.amounts[:, _PER_CORRECT], correct)
    for name, cost, accuracy in zip(PER_CORRECT, *drawn, strict=True):
        values |= {f"{name}_per_instance": moments[name].cost, f"{name}_correct": moments[name].accuracy}
        draws |= {f"{name}_per_instance": cost * errors.get(MEASURES[name].fitted_to, 1), f"{name}_correct": accuracy}
    lower_is_better = how.lower_is_better or is_lower_better(score_names)
    is_answer = answered[models, instance] & ~np.isnan(score)
    return Estimates(
        with_ratios(values, lower_is_better=lower_is_better),
        with_ratios(draws, lower_is_better=lower_is_better),
        known,
        score_answered=ratio(
            np.bincount(models[is_answer], (score * share)[is_answer], num_models).astype(float),
            np.bincount(models[is_answer], share[is_answer], num_models).astype(float),
        ),
        moments=moments,
        num_requests=np.bincount(some.models, minlength=num_models),
        num_instances=compared.sum(axis=1),
        num_answered=answered.sum(axis=1),
        num_scenarios=answered.any(axis=1).astype(np.int64),
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


class _Found(NamedTuple):
    """Means of K columns: values (K, M), draws (K, R, M), and numbers of known values (K, M)."""

    values: FloatArray
    draws: FloatArray
    known: IntArray


@dataclass(frozen=True)
class _Means:
    """Means by model with their draws.

    Attributes:
        at: Flat (model, cluster) index of each request, shape (n,).
        shape: M and C.
        weights: How often each cluster is drawn, shape (R, C).
        units: Part of an instance (in one trial and perturbation) that each request is, shape (n,).
    """

    at: IntArray
    shape: tuple[int, int]
    weights: FloatArray
    units: FloatArray

    def of(self, columns: FloatArray, share: FloatArray | None = None) -> _Found:
        """Return the means of columns (n, K) over the requests with a known value; each request counts `share`."""
        is_known = ~np.isnan(columns)
        count = is_known.astype(float) if share is None else is_known * share
        sums, counts = self._by_cluster(np.where(is_known, columns, 0) * count), self._by_cluster(count)
        numbers = counts.sum(axis=-1)
        draws = ratio(self._drawn(sums), self._drawn(counts))
        return _Found(ratio(sums.sum(axis=-1), numbers), draws, numbers.round().astype(np.int64))

    def per_correct(
        self, costs: FloatArray, correct: FloatArray
    ) -> tuple[dict[str, AnswerMoments], Sequence[FloatArray], Sequence[FloatArray]]:
        """Return costs and accuracy of an instance, over the clusters for which the cost and the score are known.

        Args:
            costs: Costs of each request, those of `PER_CORRECT`, shape (n, K); NaN if unknown.
            correct: Part of a correct answer that each request is, shape (n,); NaN if unknown.

        Returns:
            The moments of each cost, and K draws of the costs and of the accuracies, shape (R, M) each.
        """
        is_used = ~np.isnan(costs + correct[:, np.newaxis]).all(axis=0)
        costs = costs[:, is_used]
        sums = self._by_cluster(np.column_stack([costs, correct]))
        units = np.broadcast_to(self._by_cluster(self.units[:, np.newaxis]), sums.shape)
        means = np.divide(sums, units, where=units > 0, out=np.full(sums.shape, np.nan))
        cost, is_right = means[:-1], means[-1:]
        is_known = ~np.isnan(cost + is_right)
        parts = np.where(is_known, cost, 0), np.where(is_known, is_right, 0), is_known.astype(float)
        drawn_cost, drawn_right, number = np.split(self._drawn(np.concatenate(parts)), 3)
        nothing = np.full((self.shape[0], 1), np.nan)
        moments = dict.fromkeys(PER_CORRECT, AnswerMoments.of(nothing, nothing))
        no_draws = np.broadcast_to(nothing[:, 0], (len(self.weights), self.shape[0]))
        costs_drawn, rights_drawn = [no_draws] * len(PER_CORRECT), [no_draws] * len(PER_CORRECT)
        for k, index in enumerate(np.flatnonzero(is_used)):
            moments[PER_CORRECT[index]] = AnswerMoments.of(cost[k], is_right[0])
            costs_drawn[index], rights_drawn[index] = ratio(drawn_cost[k], number[k]), ratio(drawn_right[k], number[k])
        return moments, costs_drawn, rights_drawn

    def _by_cluster(self, columns: FloatArray) -> FloatArray:
        """Return sums of columns (n, K) over the requests of each model and cluster, shape (K, M, C)."""
        num_columns, size = columns.shape[1], int(np.prod(self.shape))
        at = (self.at + size * np.arange(num_columns)[:, np.newaxis]).ravel()
        sums = np.bincount(at, columns.T.ravel(), num_columns * size)
        return sums.astype(float).reshape(num_columns, *self.shape)

    def _drawn(self, sums: FloatArray) -> FloatArray:
        """Return sums over the drawn clusters, shape (K, R, M), of sums (K, M, C); equal rows are drawn once."""
        rows = sums.reshape(math.prod(sums.shape[:-1]), sums.shape[-1])
        known: dict[bytes, int] = {}
        which = [known.setdefault(row.tobytes(), index) for index, row in enumerate(rows)]
        distinct, place = np.unique(np.array(which, dtype=np.intp), return_inverse=True)
        drawn: FloatArray = (rows[distinct] @ self.weights.T)[place]
        return drawn.reshape(*sums.shape[:2], len(self.weights)).transpose(0, 2, 1)


def _request_means(
    amounts: FloatArray, means: _Means, how: Resampling
) -> tuple[dict[str, FloatArray], dict[str, FloatArray], dict[str, IntArray], dict[str, FloatArray]]:
    """Return values, draws and numbers of known values by name, and the drawn factors of error by fitted quantity."""
    is_used = ~np.isnan(amounts).all(axis=0)
    found = means.of(amounts[:, is_used])
    nothing = np.full(means.shape[0], np.nan)
    values = dict.fromkeys(_AMOUNTS, nothing)
    draws = dict.fromkeys(_AMOUNTS, np.broadcast_to(nothing, (how.num_draws, len(nothing))))
    known = dict.fromkeys(_AMOUNTS, np.zeros(len(nothing), dtype=np.int64))
    for name, *of in zip(np.array(_AMOUNTS)[is_used].tolist(), *found, strict=True):
        values[name], draws[name], known[name] = of
    for name, bound in (("api_usd", "api_usd_at_least"), ("denoised_s", "denoised_s_at_most")):
        is_bound = known[bound] > known[name]  # the two means must cover the same requests
        for table in (values, draws):
            table[name] = np.where(is_bound, np.nan, table[name])
    errors: dict[str, FloatArray] = {}
    for fitted in FITTED:
        low, high = (values[column] for column in MEASURES[fitted].interval_columns)
        error = how.fit_errors[fitted]
        half_width = np.where(error < 0, values[fitted] - low, high - values[fitted]) / _Z
        errors[fitted] = np.maximum(1 + error * np.nan_to_num(ratio(half_width, values[fitted])), 0)
        for name in (*QUANTITIES, _OF_FACTOR[fitted]):
            if name == _OF_FACTOR[fitted] or MEASURES[name].fitted_to == fitted:
                draws[name] = draws[name] * errors[fitted]
    return values, {name: draws[name] for name in (*QUANTITIES, *_OF_FACTOR.values())}, known, errors


_Z = NormalDist().inv_cdf((1 + LEVEL) / 2)


def with_ratios(means: Mapping[str, FloatArray], *, lower_is_better: bool = False) -> dict[str, FloatArray]:
    """Return means by quantity, with the win rate, the provider factor and the cost of a correct answer added."""
    table = {**means, "win_rate": _win_rates(means["score"], lower_is_better=lower_is_better)}
    return table | ratios(table)


def ratios(table: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """Return the provider factor and the costs of a correct answer, computed from means.

    The cost of a correct answer is `X_per_instance` over `X_correct`, the accuracy on the instances with a known cost.
    """
    per_correct = {}
    for name in PER_CORRECT:
        if f"{name}_per_instance" in table:
            correct = table[f"{name}_correct"]
            correct = np.where((correct >= 0) & (correct <= 1), correct, np.nan)
            per_correct[f"{name}_per_correct"] = ratio(table[f"{name}_per_instance"], correct, inf=True)
    denoised, idealized = (table.get(of_factor, table[name]) for name, of_factor in _OF_FACTOR.items())
    return {"provider_factor": ratio(denoised, idealized), **per_correct}


def _win_rates(score: FloatArray, *, lower_is_better: bool) -> FloatArray:
    """Return the share of other models beaten; a tie counts half. NaN for a model that is alone or has no score."""
    known = ~np.isnan(score)
    others = known.sum(axis=-1, keepdims=True) - 1.0
    cost = score if lower_is_better else -score
    worse, better = (ranks(np.where(known, sign * cost, np.inf)) - 1 for sign in (-1.0, 1.0))
    return ratio(np.where(known, (worse + others - better) / 2, np.nan), np.broadcast_to(others, score.shape))


def ratio(top: FloatArray, bottom: FloatArray, *, inf: bool = False) -> FloatArray:
    """Return a quotient; if the bottom is 0, it is NaN or (with `inf`) infinity."""
    with np.errstate(divide="ignore", invalid="ignore"):
        result: FloatArray = np.where(bottom != 0, top / bottom, np.inf if inf else np.nan)
    return np.where(np.isnan(top), np.nan, result) if inf else result
