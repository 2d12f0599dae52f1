"""HELM's aggregation of per-request values into stats, without HELM: for archives, fast.

What a live run writes through HELM's own `Metric`, `ReferenceMetric` and `LanguageModelingMetric` is computed here from
the same values, equal to the last bit and in the same order (crfm-helm 0.5.16, `benchmark/metrics/metric.py`):

- a *unit* is what HELM evaluates at once: one request; all requests of an instance, where each reference was a request
  of its own; or one window of a text, for language modeling;
- its context (split, sub-split, perturbation) becomes part of each stat's name;
- within a train trial, values of one name are averaged over units. The worst of an instance's perturbed copies, and its
  original beside each perturbation (`before`), are averaged over instances;
- over train trials, these means are averaged.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from helm_efficiency.harness.helm_means import (
    Context,
    Key,
    Perturbation,
    UnitValues,
    context_means,
    running_total,
    worst_means,
)

Columns = Mapping[str, Sequence[float]]
"""Values by stat name, one for each request in the order of the run; NaN where there is none. Ints stay ints."""

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
    """The stats of one unit."""

    instance_id: str | int | None
    perturbation: Perturbation | None = None
    train_trial_index: int
    stats: Sequence[Stat]


class _Instance(Struct, gc=False):
    id: str | int | None = None
    split: str | None = None
    sub_split: str | None = None
    perturbation: Perturbation | None = None


class _RequestState(Struct, gc=False):
    instance: _Instance
    train_trial_index: int = 0
    reference_index: int | None = None


class _AdapterSpec(Struct, frozen=True):
    method: str = ""


class _ScenarioState(Struct):
    request_states: list[_RequestState]
    adapter_spec: _AdapterSpec = _AdapterSpec()


_SCENARIO_STATE = msgspec.json.Decoder(_ScenarioState)


class Unit(NamedTuple):
    """What HELM evaluates at once."""

    instance_id: str | int | None
    context: int
    rows: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """Which requests of a run HELM evaluates together, and in what context.

    Attributes:
        contexts: All contexts of the run.
        trials: Units by train trial, in HELM's order.
        has_worst: Whether HELM looks for the worst of perturbed copies; not for language modeling.
    """

    contexts: tuple[Context, ...]
    trials: Mapping[int, Sequence[Unit]]
    has_worst: bool


def read_layout(scenario_state: bytes) -> Layout:
    """The layout of a run.

    Args:
        scenario_state: Content of `scenario_state.json`.

    Raises:
        msgspec.DecodeError: It is not what HELM writes.
    """
    state = _SCENARIO_STATE.decode(scenario_state)
    is_windows = state.adapter_spec.method == LANGUAGE_MODELING
    by_reference = any(request.reference_index is not None for request in state.request_states)
    contexts: dict[tuple[str | None, str | None, bytes], int] = {}
    described: list[Context] = []
    rows_of: dict[int, dict[Any, list[tuple[int, int]]]] = {}
    order: dict[Any, tuple[str | int | None, int]] = {}
    for row, request in enumerate(state.request_states):
        instance = request.instance
        perturbation = instance.perturbation
        key = (
            instance.split,
            instance.sub_split,
            b"" if perturbation is None else msgspec.json.encode(perturbation, order="sorted"),
        )
        context = contexts.setdefault(key, len(contexts))
        if context == len(described):
            described.append(Context(instance.split, instance.sub_split, perturbation))
        unit = row if is_windows else (instance.id, context)
        order.setdefault(unit, (instance.id, context))
        trial = 0 if is_windows else request.train_trial_index
        if not by_reference or request.reference_index is not None:
            rows_of.setdefault(trial, {}).setdefault(unit, []).append((request.reference_index or 0, row))
    trials = {
        trial: [Unit(*order[unit], tuple(row for _, row in sorted(units[unit]))) for unit in order if unit in units]
        for trial, units in sorted(rows_of.items())
    }
    return Layout(tuple(described), trials, has_worst=not is_windows)


def stat_of(name: MetricName, values: Sequence[float]) -> Stat:
    """HELM's summary of at least one value, its arithmetic step by step."""
    total: float = 0
    total_squared: float = 0
    for value in values:
        total += value
        total_squared += value * value
    count = len(values)
    mean = total / count
    variance = max(total_squared / count - mean**2, 0)
    return Stat(name, count, total, total_squared, min(values), max(values), mean, variance, math.sqrt(variance))


def per_instance_stats(layout: Layout, columns: Columns) -> list[PerInstanceStats]:
    """Stats of each unit, in HELM's order; a unit without any is left out."""
    names = [
        [MetricName(column, context.split, context.sub_split, context.perturbation) for column in columns]
        for context in layout.contexts
    ]
    rows = list(zip(*columns.values(), strict=True))
    return [
        PerInstanceStats(
            instance_id=unit.instance_id,
            perturbation=layout.contexts[unit.context].perturbation,
            train_trial_index=trial,
            stats=stats,
        )
        for trial, units in layout.trials.items()
        for unit in units
        if (stats := _stats_of_unit(names[unit.context], [rows[row] for row in unit.rows]))
    ]


def _stats_of_unit(names: Sequence[MetricName], rows: Sequence[Sequence[float]]) -> list[Stat]:
    """Stats in the order in which the requests of the unit have them."""
    values_of: dict[int, list[float]] = {}
    for row in rows:
        for column, value in enumerate(row):
            if value == value:
                values_of.setdefault(column, []).append(value)
    return [stat_of(names[column], values) for column, values in values_of.items()]


def aggregated_stats(layout: Layout, columns: Columns) -> list[Stat]:
    """Stats of the run, in HELM's order."""
    names = list(columns)
    table = np.array(list(columns.values()), dtype=np.float64).T
    means: dict[Key, list[float]] = {}
    for units in layout.trials.values():
        values = _unit_values(units, table)
        trial = context_means(values)
        if layout.has_worst:
            trial += worst_means(values, layout.contexts)
        for mean in sorted(trial):
            means.setdefault(mean.key, []).append(mean.mean)
    return [stat_of(_name(key, names, layout), trial_means) for key, trial_means in means.items()]


def _unit_values(units: Sequence[Unit], table: NDArray[np.float64]) -> UnitValues:
    """Values of units out of those of requests, shape (requests, columns)."""
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
