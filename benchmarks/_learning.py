"""Learn from public servers how far a simulation is off them: overheads of each engine, and effects of groups.

    seconds of a pass = factor x (kernels + overhead of a step + overhead of a row x rows)
    log(factor)       = overall + effects of engine, kernels, accelerator, kind of model, model and version

Prefill has a factor of the engine alone, as that of steps makes it no better. It and the overheads show in how the
error of one server changes with its load and lengths, the effects in its mean error.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from _group_effects import GroupEffects, Groups, LogError, fit_group_effects
from _public_servers import Row, Simulated, predicted
from scipy.optimize import least_squares

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.correction import Correction, corrected
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.errors import EfficiencyError

UNKNOWN = ("model", "version")
"""Groups that the package does not know of a stack."""

UNITS = (1e-3, 1e-5, 0.1)
"""Units of the overheads of a step and a row, and of what prefill takes more: near the values themselves."""

PRIOR, PRIOR_WIDTH = (0.5, 0.5, 0.0), (1.0, 1.5, 2.0)
"""Overheads before anything is seen, in their units: NVIDIA's figures of single requests leave half a millisecond a
step. With half the width of that, errors of models left out are 5 % larger, with half as much more 2 % smaller."""

WITHIN, BETWEEN = 0.1, 0.25
"""Rough widths of errors within one server and between servers, for the weights of both in the overheads."""


class Times(NamedTuple):
    """Predicted seconds from kernels alone, and the seconds more for each unit of overhead."""

    plain_s: float
    slopes: tuple[float, ...]

    def log_error(self, measured_s: float, overheads: Sequence[float]) -> float:
        """Return log(measured / predicted)."""
        more_s = sum(slope * number for slope, number in zip(self.slopes, overheads, strict=True))
        return math.log(measured_s / (self.plain_s + more_s))


class Seen(NamedTuple):
    """A row with its prediction from kernels.

    Attributes:
        row: What was measured.
        time: Predicted time of a token, or of the whole batch.
        first: Predicted time to the first token; None where it was not measured.
        peer_s: Static estimate that the simulator makes itself: a batch of as many rows as clients.
    """

    row: Row
    time: Times
    first: Times | None
    peer_s: float


def seen_of(rows: Iterable[Row], simulated: Simulated) -> list[Seen]:
    """Predict rows from kernels alone; those without kernels are left out."""
    found = []
    for row in rows:
        steps = simulated.steps(row.model, row.deployment)
        if steps is None:
            continue
        try:
            (plain_s, ttft_s), *more = (predicted(row, delayed(steps, by)) for by in ((0.0, 0.0, 0.0), *np.eye(3)))
        except EfficiencyError:
            continue
        time = Times(plain_s, tuple(one - plain_s for one, _ in more))
        first = Times(ttft_s, tuple(one - ttft_s for _, one in more if one)) if ttft_s and row.ttft_s else None
        batch_s = steps.decode_pass_s(row.batch_size, row.batch_size * row.context_tokens)
        found.append(Seen(row, time, first, plain_s if row.clients is None else batch_s))
    simulated.keep()
    return found


def delayed(steps: StepTimes, overheads: Sequence[float]) -> StepTimes:
    """Return times of passes with overheads, given in `UNITS`."""
    return StepTimes.from_coefficients(corrected(steps.coefficients, correction_of(overheads, 0.0, 1.0, 1.0)))


def correction_of(overheads: Sequence[float], log_factor: float, first_sd: float, time_sd: float) -> Correction:
    """Return the correction by overheads, given in `UNITS`, and a factor of every step."""
    step_s, row_s, more = (number * unit for number, unit in zip(overheads, UNITS, strict=True))
    return Correction(1.0 + more, math.exp(log_factor), first_sd, time_sd, float(step_s), float(row_s))


class Learnt(NamedTuple):
    """What was learnt.

    Attributes:
        overheads: Overheads by engine, in `UNITS`.
        typical: Median overheads of the engines, for one that was not seen.
        time: Effects on the time of a step.
        first: Errors of the time to the first token by group, for its interval.
        scatter: Standard deviation of a row's error about that of its server, for times and first tokens.
    """

    overheads: Mapping[str, Sequence[float]]
    typical: Sequence[float]
    time: GroupEffects
    first: GroupEffects
    scatter: tuple[float, float]

    def expected(self, groups: Groups) -> tuple[LogError, LogError]:
        """Return the mean factor of a stack's steps, and the deviations of a row's times and first tokens from it."""
        time, first = self.time.predict(groups), self.first.predict(groups)
        deviation = math.hypot(first.mean, first.sd, self.scatter[1])
        return LogError(time.mean, math.hypot(time.sd, self.scatter[0])), LogError(0.0, deviation)

    def errors(self, one: Seen) -> tuple[float, float | None]:
        """Return log(measured / predicted) of a row's time and of its first token, overheads included."""
        overheads = self.overheads.get(one.row.engine, self.typical)
        first = one.first and one.row.ttft_s and one.first.log_error(one.row.ttft_s, overheads)
        return one.time.log_error(one.row.measured_s, overheads), first

    def correction(self, engine: str, groups: Groups) -> Correction:
        """Return the correction of a stack, with standard deviations of the logarithms as its errors."""
        time, first = self.expected(groups)
        return correction_of(self.overheads.get(engine, self.typical), time.mean, first.sd, time.sd)


def known(row: Row) -> Groups:
    """Return the groups of a row that the package knows of a stack."""
    return {factor: group for factor, group in row.groups.items() if factor not in UNKNOWN}


def learn(seen: Sequence[Seen]) -> Learnt:
    """Fit overheads, then effects on the mean errors of servers."""
    by_engine: dict[str, list[Seen]] = defaultdict(list)
    for one in seen:
        by_engine[one.row.engine].append(one)
    overheads = {engine: _overheads(of) for engine, of in by_engine.items()}
    time, spread = _effects(
        [(one.row, one.time.log_error(one.row.measured_s, overheads[one.row.engine])) for one in seen]
    )
    firsts = [
        (one.row, one.first.log_error(one.row.ttft_s, overheads[one.row.engine]))
        for one in seen
        if one.first is not None and one.row.ttft_s is not None
    ]
    first, first_spread = _effects(firsts)
    typical = tuple(np.median(list(overheads.values()), axis=0).tolist())
    return Learnt(overheads, typical, time, first, (spread, first_spread))


def _overheads(seen: Sequence[Seen]) -> Sequence[float]:
    """Fit the overheads robustly; each server counts once, however many of its loads were measured."""
    numbers = np.array([(one.row.measured_s, one.time.plain_s, *one.time.slopes) for one in seen])
    _, server = np.unique([repr(one.row.configuration) for one in seen], return_inverse=True)
    count = np.bincount(server)

    def residuals(unknown: FloatArray) -> FloatArray:
        left = np.log(numbers[:, 0] / (numbers[:, 1] + numbers[:, 2:] @ unknown[:3]))
        means = np.bincount(server, left) / count
        within = (left - means[server]) / np.sqrt(count)[server] / WITHIN
        return np.concatenate([within, (means - unknown[3]) / BETWEEN, (unknown[:3] - PRIOR) / PRIOR_WIDTH])

    bounds = ([0.0, 0.0, -5.0, -2.0], [20.0, 20.0, 20.0, 2.0])
    start = (*PRIOR, 0.0)
    return tuple(map(float, least_squares(residuals, start, loss="soft_l1", bounds=bounds).x[:3]))


def _effects(errors: Sequence[tuple[Row, float]]) -> tuple[GroupEffects, float]:
    """Fit effects to the mean error of each server; also return the scatter of its rows about it."""
    servers: dict[tuple[object, ...], list[float]] = defaultdict(list)
    groups = {}
    for row, error in errors:
        servers[row.configuration].append(error)
        groups[row.configuration] = row.groups
    left = [value - float(np.mean(of)) for of in servers.values() if len(of) > 1 for value in of]
    means = [float(np.mean(of)) for of in servers.values()]
    return fit_group_effects(means, list(groups.values())), float(np.std(left)) if left else 0.0
