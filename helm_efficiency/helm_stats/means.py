"""Compute HELM's means of the values of one train trial: over units, and over the worst of perturbed copies.

The rules are those of `Metric.evaluate` and `compute_worst_case_metrics` (crfm-helm 0.5.16,
`benchmark/metrics/metric.py`), over arrays of shape (units, columns), one column per stat name. Sums run in HELM's
order, one addition after the other, so that they are equal to HELM's to the last bit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from helm_efficiency.core.arrays import BoolArray, FloatArray, IntArray

Perturbation = dict[str, Any]

ORIGINAL, WORST = "original", "worst"
AGGREGATES = ("robustness", "fairness")
"""HELM's names of the worst over all perturbations that have the flag of that name."""


class Context(NamedTuple):
    """Split, sub-split and perturbation; HELM averages each combination separately."""

    split: str | None
    sub_split: str | None
    perturbation: Perturbation | None


class Key(NamedTuple):
    """Name of an aggregated stat.

    Attributes:
        column: Index of the stat's column.
        context: Index of a context with its split, and with its perturbation unless that is an aggregate.
        aggregate: Member of `AGGREGATES`, or empty.
        computed_on: `original`, `worst`, or empty for the value that the perturbation itself states.
    """

    column: int
    context: int
    aggregate: str = ""
    computed_on: str = ""


class Mean(NamedTuple):
    """Mean and its sort key. The key reproduces HELM's order: (kind, first unit, column, position in the unit)."""

    order: tuple[int, ...]
    key: Key
    mean: float


def of_column(mean: Mean, first: int) -> Mean:
    """Return a mean with the true column index, if its columns were counted from `first`."""
    kind, unit, column, *place = mean.order
    return Mean((kind, unit, first + column, *place), mean.key._replace(column=first + mean.key.column), mean.mean)


@dataclass(frozen=True, slots=True)
class UnitValues:
    """Values of the units of one trial.

    Attributes:
        instances: Instance of each unit; perturbed copies share one.
        contexts: Context of each unit.
        totals: Sums over the requests of a unit, shape (units, columns); NaN if it lacks the stat.
        counts: Numbers of values in these sums; 0 if the unit lacks the stat.
        minima: Smallest values of the unit's requests; NaN if the unit lacks the stat.
    """

    instances: IntArray
    contexts: IntArray
    totals: FloatArray
    counts: IntArray
    minima: FloatArray


def context_means(values: UnitValues) -> list[Mean]:
    """Return the means over the units of each context."""
    means = []
    for context in np.unique(values.contexts).tolist():
        rows = np.flatnonzero(values.contexts == context)
        counts = values.counts[rows]
        first = rows[np.argmax(counts > 0, axis=0)]
        for column, mean in _present_means(running_total(values.totals[rows]), counts.sum(axis=0)):
            means.append(Mean((0, int(first[column]), column), Key(column, context), mean))
    return means


def worst_means(values: UnitValues, contexts: Sequence[Context]) -> list[Mean]:
    """Return the means over instances of the worst copy, and of the original that belongs to each perturbation."""
    means = []
    present = np.unique(values.contexts).tolist()
    for place in dict.fromkeys(contexts[context][:2] for context in present):
        perturbations = {c: contexts[c].perturbation for c in present if contexts[c][:2] == place}
        leading = next(c for c, context in enumerate(contexts) if context[:2] == place)
        means += _worst_of_place(_Copies.of(values, list(perturbations)), perturbations, leading)
    return means


def _worst_of_place(copies: "_Copies", perturbations: Mapping[int, Perturbation | None], leading: int) -> list[Mean]:
    """Return the worst within one split, given the index `leading` of the split's first context."""
    originals = [context for context, perturbation in perturbations.items() if perturbation is None]
    means = []
    for place, aggregate in enumerate(AGGREGATES):
        flagged = [context for context, p in perturbations.items() if p is not None and p.get(aggregate)]
        worst = copies.worst([*flagged, *originals])
        means += copies.means(worst, np.full(len(worst), place), Key(0, leading, aggregate, WORST))
    for context, perturbation in perturbations.items():
        if perturbation is None:
            continue
        has_copy = ~np.isnan(copies.worst([context]))
        position = len(AGGREGATES) + 2 * copies.units[context]
        if perturbation.get("name") not in AGGREGATES:
            for original in originals:
                means += copies.means_of_units(original, has_copy, position, Key(0, context, "", ORIGINAL))
        worst = np.where(has_copy, copies.worst([context, *originals]), np.nan)
        means += copies.means(worst, position + 1, Key(0, context, "", WORST))
    return means


@dataclass(frozen=True, slots=True)
class _Copies:
    """Copies of each instance within one split.

    Attributes:
        values: Values of all units, with one more unit at the end that has no stats.
        units: Unit index of each instance, by context; -1 if the instance lacks that copy.
        first: Index of the first unit of an instance that has a stat, shape (instances, columns).
    """

    values: UnitValues
    units: Mapping[int, IntArray]
    first: IntArray

    @classmethod
    def of(cls, values: UnitValues, contexts: Sequence[int]) -> "_Copies":
        columns = values.totals.shape[1]
        nothing = np.full((1, columns), np.nan)
        extended = UnitValues(
            values.instances,
            values.contexts,
            np.vstack([values.totals, nothing]),
            np.vstack([values.counts, np.zeros((1, columns), dtype=np.int64)]),
            np.vstack([values.minima, nothing]),
        )
        instances = np.unique(values.instances[np.isin(values.contexts, contexts)])
        units = {}
        first = np.full((len(instances), columns), len(values.instances))
        for context in contexts:
            rows = np.flatnonzero(values.contexts == context)
            units[context] = np.full(len(instances), -1)
            units[context][np.searchsorted(instances, values.instances[rows])] = rows
            has_stat = extended.counts[units[context]] > 0
            first = np.minimum(first, np.where(has_stat, units[context][:, None], len(values.instances)))
        return cls(extended, units, first)

    def worst(self, contexts: Sequence[int]) -> FloatArray:
        """Return the smallest value of each instance among its copies in some contexts, shape (instances, columns)."""
        worst = np.full(self.first.shape, np.nan)
        for context in contexts:
            worst = np.fmin(worst, self.values.minima[self.units[context]])
        return worst

    def means(self, values: FloatArray, position: IntArray, key: Key) -> list[Mean]:
        """Return the means over instances of one value each."""
        return self._means(values, (~np.isnan(values)).astype(np.int64), position, key)

    def means_of_units(self, context: int, wanted: BoolArray, position: IntArray, key: Key) -> list[Mean]:
        """Return the means over the units of a context, for the wanted instances and columns."""
        units = self.units[context]
        counts = np.where(wanted, self.values.counts[units], 0)
        return self._means(np.where(counts > 0, self.values.totals[units], np.nan), counts, position, key)

    def _means(self, totals: FloatArray, counts: IntArray, position: IntArray, key: Key) -> list[Mean]:
        order = np.argsort(self.first, axis=0, kind="stable")
        ordered = np.take_along_axis(totals, order, axis=0)
        leading = np.take_along_axis(order, np.argmax(~np.isnan(ordered), axis=0)[None], axis=0)[0]
        return [
            Mean(
                (1, int(self.first[leading[column], column]), column, int(position[leading[column]])),
                key._replace(column=column),
                mean,
            )
            for column, mean in _present_means(running_total(ordered), counts.sum(axis=0))
        ]


def running_total(values: FloatArray) -> FloatArray:
    """Return sums over the first axis without NaNs, one addition after the other; numpy's own sums are pairwise."""
    return np.asarray(np.add.accumulate(np.where(np.isnan(values), 0.0, values), axis=0)[-1])


def _present_means(totals: FloatArray, counts: IntArray) -> list[tuple[int, float]]:
    return [
        (column, total / count)
        for column, (total, count) in enumerate(zip(totals.tolist(), counts.tolist(), strict=True))
        if count
    ]
