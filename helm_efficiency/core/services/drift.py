"""Drift: detect whether a service itself became faster or slower, as opposed to busier.

A level is the denoised runtime of a stretch of requests ÷ the service model's prediction for them, 1 for no drift.
It is a lower envelope too, so a busier week has the same level as a quiet one.

References:
    Andrews, Tests for parameter instability and structural change with unknown change point, Econometrica 61 (1993),
    table I: critical values of the largest Wald statistic over the middle 70 % of a series, one parameter.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.core.services.envelope import Envelope, fit_envelope
from helm_efficiency.core.services.jackknife import covariance
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import ServiceFit

MIN_CHANGE_FRACTION = 0.05
"""Smallest change of level that is reported; smaller ones are not, however significant."""

_MAX_JITTER_RATIO = 2.0  # between the two sides of a change; waits mistaken for jitter differ by more
_CRITICAL_WALD = 12.35  # 1 % significance
_MIN_STRETCH = 30  # requests on either side of a change
_MIN_WEEK = 20  # requests for a level of a week
_NUM_CANDIDATES = 16
_MOST_SEARCHED = 400
"""Requests among which the place of a change is first looked for, an even thinning; all are then looked at near it."""


@dataclass(frozen=True, slots=True)
class Period:
    """Requests of one stretch of time.

    Attributes:
        begin: Time of the first request, seconds since 1970 UTC.
        end: Time of the last request, seconds since 1970 UTC.
        num_requests: Number of requests.
        level: Denoised runtime ÷ the service model's prediction.
        low: Lower end of the level's nominal 90 % interval.
        high: Upper end of the level's nominal 90 % interval.
    """

    begin: float
    end: float
    num_requests: int
    level: float
    low: float
    high: float


def weekly_levels(log: ServiceLog, service: ServiceFit) -> tuple[Period, ...]:
    """Return the level of each ISO week (UTC) with at least 20 requests; empty if times are unknown."""
    if np.isnan(log.requested_at).any():
        return ()
    weeks = [datetime.fromtimestamp(at, UTC).isocalendar()[:2] for at in log.requested_at]
    number = np.unique(weeks, axis=0, return_inverse=True)[1].reshape(-1)
    stretches = [np.flatnonzero(number == week) for week in range(number.max() + 1)]
    return tuple(_period(log.where(places), service) for places in stretches if len(places) >= _MIN_WEEK)


def levels_between(log: ServiceLog, service: ServiceFit, changes: Sequence[int]) -> tuple[Period, ...]:
    """Return the level of each stretch of a log that is divided before the indices `changes`."""
    bounds = pairwise([0, *changes, len(log)])
    return tuple(_period(log.where(np.arange(begin, end)), service) for begin, end in bounds)


def find_changes(log: ServiceLog, service: ServiceFit) -> tuple[int, ...]:
    """Return the indices of the first requests after significant changes of level, ascending; empty without times.

    The method is binary segmentation. The place where two levels make the requests likeliest is tested by a Wald
    statistic with variances of blocks. Each side of a change is searched again, and each change is tested once more
    between its neighbours. A stretch with an undetermined envelope, because most of its requests wait, gives no
    evidence of drift.
    """
    if np.isnan(log.requested_at).any():
        return ()
    found = list(_changes(log, service, np.arange(len(log))))
    kept: list[int] = []
    for place, end in pairwise([*found, len(log)]):
        begin = kept[-1] if kept else 0
        if _wald(log.where(np.arange(begin, end)), service, place - begin) > _CRITICAL_WALD:
            kept.append(place)
    return tuple(kept)


def _changes(log: ServiceLog, service: ServiceFit, places: IntArray) -> Iterator[int]:
    """Yield the indices of the first requests after changes, ascending."""
    place = _likeliest_change(log.where(places), service)
    if place is None:
        return
    yield from _changes(log, service, places[:place])
    yield int(places[place])
    yield from _changes(log, service, places[place:])


def _likeliest_change(log: ServiceLog, service: ServiceFit) -> int | None:
    first, last = _MIN_STRETCH, len(log) - _MIN_STRETCH
    if last < first:
        return None
    step = max((last - first) // _NUM_CANDIDATES, 1)
    every = -(-len(log) // _MOST_SEARCHED)
    few = log.where(np.arange(0, len(log), every))
    best = max(range(first, last + 1, step), key=lambda place: _likelihood(few, service, place // every))
    if _wald(log, service, best) <= _CRITICAL_WALD:
        return None
    near = range(max(first, best - step), min(last, best + step) + 1, max(step // 6, 1))
    return max(near, key=lambda place: _likelihood(log, service, place))


def _likelihood(log: ServiceLog, service: ServiceFit, place: int) -> float:
    """Return the log-likelihood of a log with one level before and one after an index."""
    return sum(fit.log_likelihood for fit in _side_levels(log, service, place))


def _sides(log: ServiceLog, place: int) -> tuple[ServiceLog, ServiceLog]:
    return log.where(np.arange(place)), log.where(np.arange(place, len(log)))


def _side_levels(log: ServiceLog, service: ServiceFit, place: int) -> list[Envelope]:
    return [_level(side, service) for side in _sides(log, place)]


def _wald(log: ServiceLog, service: ServiceFit, place: int) -> float:
    """Return the squared difference of the log levels before and after an index, divided by its variance."""
    fits = _side_levels(log, service, place)
    change = float(np.log(fits[1].coefficients[0] / fits[0].coefficients[0]))
    sides = _sides(log, place)
    jitters = [_jitter_fraction(side, service, fit) for side, fit in zip(sides, fits, strict=True)]
    steady = all(fit.is_determined for fit in fits) and max(jitters) < _MAX_JITTER_RATIO * min(jitters)
    if abs(np.expm1(change)) < MIN_CHANGE_FRACTION or not steady:
        return 0.0
    return float(change**2 / sum(_block_variance(side, service, fit) for side, fit in zip(sides, fits, strict=True)))


def _jitter_fraction(log: ServiceLog, service: ServiceFit, fit: Envelope) -> float:
    """Return the root mean square of the jitter, as a fraction of the uncontended seconds."""
    uncontended_s = fit.seconds(_column(log, service))
    return float(np.sqrt(np.mean((fit.jitter_s(uncontended_s) / uncontended_s) ** 2)))


def _block_variance(log: ServiceLog, service: ServiceFit, fit: Envelope) -> float:
    """Return the variance of the logarithm of a level, if other blocks of requests had been recorded."""
    variance = covariance(fit, _column(log, service), log.seconds, log.blocks())[0, 0]
    return float(variance / fit.coefficients[0] ** 2)


def _column(log: ServiceLog, service: ServiceFit) -> FloatArray:
    return service.denoised_s(log.prompt_tokens, log.output_tokens).value[:, None]


def _level(log: ServiceLog, service: ServiceFit) -> Envelope:
    column = _column(log, service)
    low = float(np.quantile(log.seconds / column[:, 0], 0.25))
    return fit_envelope(column, log.seconds, start=replace(service.envelope, coefficients=np.array([low])))


def _period(log: ServiceLog, service: ServiceFit) -> Period:
    fit = _level(log, service)
    level = float(fit.coefficients[0])
    model = service.total_s(log.prompt_tokens, log.output_tokens)
    # the level's error has two parts: its own requests, and the model that it is relative to
    own = 1.645 * np.sqrt(_block_variance(log, service, fit))
    factor = float(np.exp(np.hypot(own, np.log(model.high / model.value))))
    begin, end = float(log.requested_at[0]), float(log.requested_at[-1])
    return Period(begin, end, len(log), level, level / factor, level * factor)
