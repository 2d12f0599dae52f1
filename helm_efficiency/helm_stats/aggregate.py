"""Aggregate per-request values into HELM's stats without HELM, fast enough for archives.

The stats that a live run writes through HELM's own `Metric`, `ReferenceMetric` and `LanguageModelingMetric` are
computed here from the same values, equal to the last bit and in the same order (crfm-helm 0.5.16,
`benchmark/metrics/metric.py`):

- a *unit* is evaluated at once by HELM: one request; all requests of an instance, where each reference was a request
  of its own; or one window of a text, for language modeling;
- its context (split, sub-split, perturbation) becomes part of each stat's name;
- within a train trial, values of one name are averaged over units. The worst of an instance's perturbed copies, and its
  original for each perturbation (`before`), are averaged over instances;
- over train trials, these means are averaged.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from msgspec import Struct

from helm_efficiency.adapters.helm.format import RequestState
from helm_efficiency.adapters.helm.request import perturbation_key
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.helm_stats.means import (
    Context,
    Key,
    Mean,
    Perturbation,
    UnitValues,
    context_means,
    of_column,
    running_total,
    worst_means,
)

Columns = Mapping[str, Sequence[float]]
"""Values by stat name, one for each request in the order of the run; NaN if missing. Ints stay ints."""

LANGUAGE_MODELING = "language_modeling"


class MetricName(Struct, frozen=True, omit_defaults=True):
    """HELM's name of a stat."""

    name: str
    split: str | None = None
    sub_split: str | None = None
    perturbation: Perturbation | None = None


class Stat(Struct, frozen=True):
    """HELM's summary of the values of one name."""

    name: MetricName
    count: int
    sum: float
    sum_squared: float
    min: float
    max: float
    mean: float
    variance: float
    stddev: float


class PerInstanceStats(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Stats of one unit."""

    instance_id: str | int | None
    perturbation: Perturbation | None = None
    train_trial_index: int
    stats: Sequence[Stat]


class Unit(NamedTuple):
    """Unit that HELM evaluates at once; see the module."""

    instance_id: str | int | None
    context: int
    rows: Sequence[int]


@dataclass(frozen=True, slots=True)
class Layout:
    """Division of a run's requests into the units that HELM evaluates, with their contexts.

    Attributes:
        contexts: All contexts of the run.
        trials: Units by train trial, in HELM's order.
        has_worst: True if HELM looks for the worst of perturbed copies; False for language modeling.
    """

    contexts: tuple[Context, ...]
    trials: Mapping[int, Sequence[Unit]]
    has_worst: bool


def layout_of(requests: Sequence[RequestState], *, method: str) -> Layout:
    """Return the layout of a run.

    Args:
        requests: Requests of the run, in order.
        method: Method of adaptation.
    """
    is_windows = method == LANGUAGE_MODELING
    by_reference = any(request.reference_index is not None for request in requests)
    numbers: dict[tuple[str | None, str | None, bytes], int] = {}
    contexts: list[Context] = []
    order: dict[_UnitKey, None] = {}
    rows: dict[tuple[int, _UnitKey], list[int]] = {}
    for row, request in enumerate(requests):
        instance = request.instance
        described = perturbation_key(instance.perturbation)
        context = numbers.setdefault((instance.split, instance.sub_split, described), len(contexts))
        if context == len(contexts):
            contexts.append(Context(instance.split, instance.sub_split, instance.perturbation))
        unit = instance.id, context, row if is_windows else 0
        order[unit] = None
        if not by_reference or request.reference_index is not None:
            rows.setdefault((0 if is_windows else request.train_trial_index, unit), []).append(row)
    if by_reference:
        for of_unit in rows.values():
            of_unit.sort(key=lambda row: requests[row].reference_index or 0)
    trials = {
        trial: [Unit(unit[0], unit[1], its_rows) for unit in order if (its_rows := rows.get((trial, unit)))]
        for trial in sorted({trial for trial, _ in rows})
    }
    return Layout(tuple(contexts), trials, has_worst=not is_windows)


_UnitKey = tuple[str | int | None, int, int]
"""Key of a unit: instance id, context, and the index of the request if each request is its own unit."""


def stat_of(name: MetricName, values: Sequence[float]) -> Stat:
    """Return HELM's summary of at least one value, by the same arithmetic steps."""
    total: float = 0
    total_squared: float = 0
    for value in values:
        total += value
        total_squared += value * value
    count = len(values)
    mean = total / count
    variance = max(total_squared / count - mean**2, 0)
    return Stat(name, count, total, total_squared, min(values), max(values), mean, variance, math.sqrt(variance))


def per_instance_stats(layout: Layout, columns: Columns) -> Iterator[PerInstanceStats]:
    """Yield the stats of each unit, in HELM's order; a unit without stats is left out."""
    rows = list(zip(*columns.values(), strict=True))
    makers = [_StatMaker(list(columns), context) for context in layout.contexts]
    for trial, units in layout.trials.items():
        for unit in units:
            if stats := makers[unit.context].stats([rows[row] for row in unit.rows]):
                yield PerInstanceStats(
                    instance_id=unit.instance_id,
                    perturbation=layout.contexts[unit.context].perturbation,
                    train_trial_index=trial,
                    stats=stats,
                )


class _StatMaker:
    """Maker of the stats of units in one context. Many stats of one value are equal, so each is made once."""

    def __init__(self, columns: Sequence[str], context: Context) -> None:
        self.names = [MetricName(column, *context) for column in columns]
        self.made: list[dict[float, Stat]] = [{} for _ in columns]

    def stats(self, rows: Sequence[Sequence[float]]) -> list[Stat]:
        """Return the stats of one unit, in the order in which its requests have them."""
        if len(rows) == 1:
            return [
                made.get(value) or self._make(column, value)
                for column, (value, made) in enumerate(zip(rows[0], self.made, strict=True))
                if value == value
            ]
        values_of: dict[int, list[float]] = {}
        for row in rows:
            for column, value in enumerate(row):
                if value == value:
                    values_of.setdefault(column, []).append(value)
        return [stat_of(self.names[column], values) for column, values in values_of.items()]

    def _make(self, column: int, value: float) -> Stat:
        """Return the `stat_of` a single value, in half the time."""
        squared, mean = value * value, value / 1
        variance = max(squared / 1 - mean**2, 0)
        name = self.names[column]
        stat = Stat(name, 1, value, squared, value, value, mean, variance, math.sqrt(variance))
        if len(self.made[column]) < _MAX_MADE:
            self.made[column][value] = stat
        return stat


_MAX_MADE = 2000
"""Most stats of one name to keep for reuse; with more distinct values, values are rarely equal."""


def aggregated_stats(layout: Layout, columns: Columns) -> list[Stat]:
    """Return the aggregated stats of the run, in HELM's order."""
    names = list(columns)
    means: dict[Key, list[float]] = {}
    for units in layout.trials.values():
        width = max(_MOST_CELLS // max(len(units), 1), 1)
        trial: list[Mean] = []
        for first in range(0, len(names), width):
            some = [columns[name] for name in names[first : first + width]]
            trial += [of_column(mean, first) for mean in _trial_means(layout, units, some)]
        for mean in sorted(trial):
            means.setdefault(mean.key, []).append(mean.mean)
    return [stat_of(_name(key, names, layout), trial_means) for key, trial_means in means.items()]


_MOST_CELLS = 200_000
"""Number of values that are averaged at a time, so that memory grows little with the run."""


def _trial_means(layout: Layout, units: Sequence[Unit], columns: Sequence[Sequence[float]]) -> list[Mean]:
    values = _unit_values(units, np.array(columns, dtype=np.float64).T)
    return context_means(values) + (worst_means(values, layout.contexts) if layout.has_worst else [])


def _unit_values(units: Sequence[Unit], table: FloatArray) -> UnitValues:
    """Return the values of units from those of requests, shape (requests, columns)."""
    instances: dict[str | int | None, int] = {}
    numbered = np.array([instances.setdefault(unit.instance_id, len(instances)) for unit in units])
    contexts = np.array([unit.context for unit in units])
    if all(len(unit.rows) == 1 for unit in units):
        values = table[[unit.rows[0] for unit in units]]
        return UnitValues(numbered, contexts, values, (~np.isnan(values)).astype(np.int64), values)
    parts = [table[list(unit.rows)] for unit in units]
    counts = np.array([(~np.isnan(part)).sum(axis=0) for part in parts])
    totals = np.where(counts > 0, np.array([running_total(part) for part in parts]), np.nan)
    return UnitValues(numbered, contexts, totals, counts, np.array([np.fmin.reduce(part, axis=0) for part in parts]))


def _name(key: Key, names: Sequence[str], layout: Layout) -> MetricName:
    split, sub_split, perturbation = layout.contexts[key.context]
    if key.aggregate:
        perturbation = {
            "name": key.aggregate,
            "robustness": key.aggregate == "robustness",
            "fairness": key.aggregate == "fairness",
            "computed_on": key.computed_on,
        }
    elif perturbation is not None and key.computed_on:
        perturbation = {**perturbation, "computed_on": key.computed_on}
    return MetricName(names[key.column], split, sub_split, perturbation)
