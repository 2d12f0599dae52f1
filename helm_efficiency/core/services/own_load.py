"""The load that a client puts on a service itself, by sending several requests at a time.

A harness keeps a number of requests in flight (helm-run four by default). A small server then computes them in
parallel, and each takes longer than it would alone. Occasional added waits do not describe that, because every request
is slowed down. Here the seconds of a request with n in flight, itself included, are

    seconds(n) = seconds(1) * n ** exponent          exponent 0: enough capacity; 1: one request at a time is computed

and the exponent is fitted if n varies. If n does not vary, the observed seconds are only an upper bound.
"""

from typing import NamedTuple

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.services.envelope import fit_envelope

ALONE = 1.2
"""Most requests in flight for which a client counts as sending one at a time, because the clocks of logs are coarse."""

_EXPONENTS = np.arange(0.0, 1.31, 0.1)
"""Exponents that are tried. A batching server is between 0 and 1; beyond 1 it loses throughput under load."""

_LIKELIHOOD_DROP = 1.35
"""Half of the 90 % quantile of chi-squared with one degree of freedom: how far an exponent's interval reaches."""

_LESS_CROWDED = 0.6
"""A request counts as less crowded with at most this share of the usual number in flight."""

_MIN_LESS_CROWDED = 20
_MIN_LESS_CROWDED_SHARE = 0.05
"""Requests that must be less crowded before an exponent is fitted: fewer are the ends of runs, which differ otherwise
too. On logs of four clients that share one server, 3 % of the requests are at the ends."""


class OwnLoad(NamedTuple):
    """Effect of a client's simultaneous requests on each other.

    Attributes:
        usual: Median number of requests in flight.
        exponent: Exponent by which seconds grow with the number in flight; NaN if the log does not identify it.
        low: Lower end of the nominal 90 % interval of the exponent.
        high: Upper end of the nominal 90 % interval of the exponent.
    """

    usual: float
    exponent: float
    low: float
    high: float

    @property
    def is_known(self) -> bool:
        """Whether the log identifies the effect of the load."""
        return not np.isnan(self.exponent)


def requests_in_flight(begin_s: FloatArray, seconds: FloatArray) -> FloatArray:
    """Return the mean number of requests in flight during each one, itself included, shape (n,).

    Args:
        begin_s: Times at which the requests of one client began (s), shape (n,); NaN where unknown. In a log of whole
            seconds, requests that begin in the same second are spread evenly over it, in the order given, and the
            result is rounded to whole requests: a client keeps a whole number of them in flight, and the rest is error.
        seconds: Duration of each request (s), shape (n,); NaN where unknown.
    """
    result = np.full(len(begin_s), np.nan)
    known = np.flatnonzero(np.isfinite(begin_s) & np.isfinite(seconds) & (seconds > 0))
    if not len(known):
        return result
    is_coarse = np.array_equal(begin_s[known], np.floor(begin_s[known]))
    begin = _spread_over_seconds(begin_s[known]) if is_coarse else begin_s[known]
    end = begin + seconds[known]
    times = np.concatenate([begin, end])
    order = np.argsort(times, kind="stable")
    steps = np.concatenate([np.ones(len(known)), -np.ones(len(known))])[order]
    times = times[order]
    # integral over time of the number in flight, at each event
    area = np.concatenate([[0.0], np.cumsum(np.cumsum(steps)[:-1] * np.diff(times))])
    means = (np.interp(end, times, area) - np.interp(begin, times, area)) / seconds[known]
    result[known] = np.maximum(np.round(means) if is_coarse else means, 1.0)
    return result


def _spread_over_seconds(begin_s: FloatArray) -> FloatArray:
    order = np.argsort(begin_s, kind="stable")
    _, first, counts = np.unique(begin_s[order], return_index=True, return_counts=True)
    rank = np.arange(len(begin_s)) - np.repeat(first, counts)
    spread = np.empty(len(begin_s))
    spread[order] = begin_s[order] + (rank + 0.5) / np.repeat(counts, counts)
    return spread


def fit_own_load(design: FloatArray, seconds: FloatArray, in_flight: FloatArray) -> OwnLoad | None:
    """Fit the effect of a client's own load on its requests.

    The chosen exponent maximizes the likelihood of the lower envelope of the seconds, scaled to one request at a time.

    Args:
        design: Terms of a request alone, n × q.
        seconds: Observed seconds, shape (n,).
        in_flight: Requests in flight during each, shape (n,); NaN where unknown.

    Returns:
        The effect; None if requests came one at a time or the numbers in flight are unknown.
    """
    known = np.isfinite(in_flight)
    if known.mean() < 0.5:
        return None
    usual = float(np.median(in_flight[known]))
    if usual <= ALONE:
        return None
    less_crowded = int((in_flight[known] <= max(_LESS_CROWDED * usual, ALONE)).sum())
    if less_crowded < max(_MIN_LESS_CROWDED, _MIN_LESS_CROWDED_SHARE * known.sum()):
        return OwnLoad(usual, np.nan, np.nan, np.nan)
    log_n = np.log(in_flight[known])
    fit, likelihoods = None, []
    for exponent in _EXPONENTS:  # each fit begins from that of the exponent before
        fit = fit_envelope(design[known], seconds[known] / np.exp(exponent * log_n), start=fit)
        likelihoods.append(fit.log_likelihood - exponent * log_n.sum())
    likelihood = np.array(likelihoods)
    plausible = _EXPONENTS[likelihood > likelihood.max() - _LIKELIHOOD_DROP]
    step = _EXPONENTS[1] - _EXPONENTS[0]
    low, high = max(float(plausible.min() - step / 2), 0.0), float(plausible.max() + step / 2)
    return OwnLoad(usual, float(_EXPONENTS[likelihood.argmax()]), low, high)
