"""A robust lower envelope: estimate uncontended request times from latencies that may be mostly contended.

Each request takes its own time, give or take a jitter in both directions, and some requests wait as well. Waits only
ever add. So the seconds y of a request with design row x are modelled as

    y = x·θ + jitter                 jitter ~ Normal(0, s²),  s² = absolute² + (relative · x·θ)²      uncontended
    y = x·θ + jitter + wait          wait ~ Exponential(k s),  k of a few scales                      contended
    y uniform below x·θ                                                                              too fast

with all coefficients θ at least 0. Sums of exponentials imitate any falling density of waits (queues, bursts, retries,
cold starts), so no shape of contention is assumed, only its sign. The estimate differs in this from a minimum, which
drifts down with every further trial, from a mean or median, which drift up with contention, and from quantile
regression, because the right quantile depends on the unknown share of contention.

The model is fitted by expectation-maximization, accelerated by SQUAREM, with θ fitted by non-negative least squares in
each step.

References:
    Grushka, Characterization of exponentially modified Gaussian peaks, Analytical Chemistry 44 (1972): the density.
    Varadhan and Roland, Simple and globally convergent methods for accelerating the convergence of any EM algorithm,
    Scandinavian Journal of Statistics 35 (2008).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np
from scipy.optimize import nnls
from scipy.special import log_ndtr

from helm_efficiency.core.arrays import FloatArray

WAIT_SCALES = np.array([4.0, 16.0, 64.0, 256.0, 1024.0])
"""Mean waits, in standard deviations of the jitter. A wait much shorter than 4 of them looks like jitter."""

MIN_UNCONTENDED_SHARE = 0.3
"""Share of uncontended requests below which the envelope is not determined; the fitted share is then held here."""

_TOO_FAST_SHARE = 0.01  # token miscounts, prefix caches; a small constant keeps them from pulling the envelope down
_MIN_JITTER = 0.003  # fraction of the seconds; clocks and services are never steadier. Keeps the likelihood bounded
_MAX_JITTER = 0.15  # fraction of the seconds, or of the median request's; a larger variation is contention
MIN_SHARE = 1e-5
_START_QUANTILES = np.array([1 / 3, 1.0, 5 / 3])  # in shares of uncontended requests at least
_LOG_SQRT_2PI = 0.5 * float(np.log(2.0 * np.pi))
_MAX_STEP_LENGTH = 32.0


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A fitted lower envelope.

    Attributes:
        coefficients: θ, one for each column of the design; seconds per unit of the column.
        jitter_variance: (absolute², relative²): variance (s²) of the jitter and its part that grows with the seconds.
        shares: Shares of the requests that are not too fast: uncontended, then contended at each wait scale; they sum
            to 1.
        wait_scales: Mean waits k of the contended requests, in standard deviations of the jitter.
        min_uncontended_share: Lower bound that the first of `shares` was held above.
        log_likelihood: Weighted sum of log densities over the requests.
    """

    coefficients: FloatArray
    jitter_variance: FloatArray
    shares: FloatArray
    wait_scales: FloatArray
    min_uncontended_share: float = MIN_UNCONTENDED_SHARE
    log_likelihood: float = -np.inf

    @property
    def is_determined(self) -> bool:
        """Whether there are enough uncontended requests; otherwise the envelope is an upper bound."""
        return bool(self.shares[0] > 1.001 * self.min_uncontended_share)

    def seconds(self, design: FloatArray) -> FloatArray:
        """Return the uncontended seconds of requests with the rows of `design`."""
        return np.asarray(np.maximum(design @ self.coefficients, 1e-9))

    def jitter_s(self, uncontended_s: FloatArray) -> FloatArray:
        """Return the standard deviation (s) of uncontended requests that take `uncontended_s`."""
        spread = np.sqrt(self.jitter_variance[0] + self.jitter_variance[1] * uncontended_s**2)
        return np.asarray(np.maximum(spread, _MIN_JITTER * uncontended_s))

    def memberships(self, design: FloatArray, seconds: FloatArray) -> FloatArray:
        """Return the probabilities that each request (n) is uncontended, contended, too fast: n × 3, rows sum to 1."""
        r = expect(self, self.seconds(design), seconds).memberships
        return np.column_stack([r[0], r[1:-1].sum(axis=0), r[-1]])

    def vector(self) -> FloatArray:
        """Return all parameters: coefficients, jitter variances and shares."""
        return np.concatenate([self.coefficients, self.jitter_variance, self.shares])

    def with_vector(self, vector: FloatArray) -> Self:
        """Return the envelope with other parameters; shares are scaled to a sum of 1."""
        q = len(self.coefficients)
        shares = vector[q + 2 :] / vector[q + 2 :].sum()
        return replace(self, coefficients=vector[:q], jitter_variance=vector[q : q + 2], shares=shares)


def fit_envelope(
    design: FloatArray,
    seconds: FloatArray,
    *,
    weights: FloatArray | None = None,
    start: Envelope | None = None,
    wait_scales: FloatArray = WAIT_SCALES,
    min_uncontended_share: float = MIN_UNCONTENDED_SHARE,
) -> Envelope:
    """Fit a lower envelope.

    Args:
        design: Terms of each request, n × q, at least 0.
        seconds: Observed seconds of each request (n), positive.
        weights: Weight of each request (n); 1 by default.
        start: Envelope to begin from, such as the fit to the same requests with other weights. By default several
            quantile regressions are tried and the likeliest result wins.
        wait_scales: Mean waits, in standard deviations of the jitter; if `start` is given, its scales are used.
        min_uncontended_share: Least share of uncontended requests; if `start` is given, its own is used.

    Returns:
        The envelope with the highest likelihood that was found.
    """
    data = _Data(design, seconds, np.ones(len(seconds)) if weights is None else weights)
    if start is not None:
        return _climb(start, data, max_steps=60, tolerance=1e-4)
    starts = [
        replace(_start(data, quantile, wait_scales), min_uncontended_share=min_uncontended_share)
        for quantile in min_uncontended_share * _START_QUANTILES
    ]
    fits = [_climb(start, data, max_steps=400, tolerance=1e-5) for start in starts]
    return max(fits, key=lambda fit: fit.log_likelihood)


class _Data(NamedTuple):
    """Data to fit: design n × q, seconds n, weights n."""

    design: FloatArray
    seconds: FloatArray
    weights: FloatArray


class Expectation(NamedTuple):
    """Expectations given the seconds of n requests and an envelope."""

    log_density: FloatArray  # n
    memberships: FloatArray  # (2 + number of scales) × n: uncontended, contended at each scale, too fast
    jitter: FloatArray  # n, expected jitter in units of its standard deviation, times the probability of not too fast
    jitter_squared: FloatArray  # n, expected squared jitter in the same units, times the same probability


def expect(envelope: Envelope, uncontended_s: FloatArray, seconds: FloatArray) -> Expectation:
    """Return what the jitter and the wait of each request are expected to have been."""
    spread = envelope.jitter_s(uncontended_s)
    z = (seconds - uncontended_s) / spread
    scales = envelope.wait_scales[:, None]
    a = z - 1.0 / scales
    log_phi = log_ndtr(a)
    log_p = np.empty((len(scales) + 2, len(z)))
    log_p[0] = -0.5 * z * z - _LOG_SQRT_2PI
    log_p[1:-1] = -np.log(scales) + 0.5 / scales**2 - z / scales + log_phi
    log_p[:-1] += np.log(envelope.shares * (1.0 - _TOO_FAST_SHARE))[:, None] - np.log(spread)
    log_p[-1] = np.where(z < 0.0, np.log(_TOO_FAST_SHARE / uncontended_s), -np.inf)
    top = log_p.max(axis=0)
    memberships = np.exp(log_p - top)
    density = memberships.sum(axis=0)
    memberships /= density
    # Given its scale, the wait is Normal(a, 1) truncated at 0, in units of the spread.
    mills = np.exp(-0.5 * a * a - _LOG_SQRT_2PI - log_phi)
    wait, wait_variance = a + mills, np.clip(1.0 - a * mills - mills * mills, 0.0, 1.0)
    contended = memberships[1:-1]
    jitter = memberships[0] * z + (contended * (z - wait)).sum(axis=0)
    jitter_squared = memberships[0] * z * z + (contended * ((z - wait) ** 2 + wait_variance)).sum(axis=0)
    return Expectation(np.log(density) + top, memberships, jitter, jitter_squared)


def _step(envelope: Envelope, data: _Data) -> tuple[Envelope, float]:
    """Take one step of expectation-maximization; also return the log-likelihood before it."""
    design, seconds, weights = data
    uncontended_s = envelope.seconds(design)
    spread = envelope.jitter_s(uncontended_s)
    expected = expect(envelope, uncontended_s, seconds)
    kept = np.maximum(1.0 - expected.memberships[-1], 1e-9)
    w = weights * kept
    coefficients = weighted_nnls(design, uncontended_s + spread * expected.jitter / kept, w / spread**2)
    variances = np.column_stack([np.ones_like(uncontended_s), uncontended_s**2])
    jitter_variance = np.minimum(
        weighted_nnls(variances, spread**2 * expected.jitter_squared / kept, w / spread**4),
        largest_jitter_variance(uncontended_s),
    )
    shares = np.asarray((weights * expected.memberships[:-1]).sum(axis=1))
    log_likelihood = float((weights * expected.log_density).sum())
    stepped = replace(
        envelope,
        coefficients=coefficients,
        jitter_variance=jitter_variance,
        shares=_allowed(shares, envelope.min_uncontended_share),
    )
    return stepped, log_likelihood


def largest_jitter_variance(uncontended_s: FloatArray) -> FloatArray:
    """Return upper bounds of the jitter's (absolute², relative²)."""
    middle = np.partition(uncontended_s, len(uncontended_s) // 2)[len(uncontended_s) // 2]
    return _MAX_JITTER**2 * np.array([middle**2, 1.0])


def _allowed(shares: FloatArray, min_uncontended: float) -> FloatArray:
    shares = np.maximum(shares / shares.sum(), MIN_SHARE)
    if shares[0] < min_uncontended:
        shares[1:] *= (1.0 - min_uncontended) / shares[1:].sum()
        shares[0] = min_uncontended
    return np.asarray(shares / shares.sum())


def _climb(envelope: Envelope, data: _Data, *, max_steps: int, tolerance: float) -> Envelope:
    """Iterate by SQUAREM: extrapolate each pair of steps, and keep the leap only if it is likelier than the pair."""
    for _ in range(max_steps // 3):
        once, _ = _step(envelope, data)
        twice, likelihood_once = _step(once, data)
        change = np.abs(twice.seconds(data.design) / envelope.seconds(data.design) - 1.0)
        leap = _leap(envelope, once, twice)
        envelope = twice
        if change.max() < tolerance:
            break
        if leap is not None:
            landed, likelihood_leap = _step(leap, data)
            if likelihood_leap >= likelihood_once:
                envelope = landed
    _, log_likelihood = _step(envelope, data)
    return replace(envelope, log_likelihood=log_likelihood)


def _leap(start: Envelope, once: Envelope, twice: Envelope) -> Envelope | None:
    x0, x1, x2 = start.vector(), once.vector(), twice.vector()
    r, v = x1 - x0, x2 - 2.0 * x1 + x0
    scale = np.maximum(np.abs(x1), 1e-8)
    length = float(np.linalg.norm(r / scale) / max(float(np.linalg.norm(v / scale)), 1e-300))
    length = min(length, _MAX_STEP_LENGTH)
    if length <= 1.0:
        return None
    vector = x0 + 2.0 * length * r + length * length * v
    shares = vector[len(start.coefficients) + 2 :]
    if (vector < 0).any() or shares.min() <= 0 or shares[0] < start.min_uncontended_share * shares.sum():
        return None
    return start.with_vector(vector)


def _start(data: _Data, quantile: float, wait_scales: FloatArray) -> Envelope:
    """Return a starting envelope with half of the requests contended.

    Its coefficients are a quantile regression of relative residuals by iterated least squares.
    """
    design, seconds, weights = data
    coefficients = weighted_nnls(design, seconds, weights / seconds**2)
    for _ in range(30):
        uncontended_s = np.maximum(design @ coefficients, 1e-9)
        above = seconds > uncontended_s
        distance = np.maximum(np.abs(seconds / uncontended_s - 1.0), 1e-3)
        tilt = np.where(above, quantile, 1.0 - quantile) / distance
        coefficients = weighted_nnls(design, seconds, weights * tilt / uncontended_s**2)
    uncontended_s = np.maximum(design @ coefficients, 1e-9)
    below = 1.0 - seconds / uncontended_s
    below = below[below > 0.0]
    relative = float(np.clip(1.4826 * np.median(below), _MIN_JITTER, _MAX_JITTER)) if below.size else 0.02
    absolute_s = 0.3 * relative * float(np.median(uncontended_s))
    shares = np.append(0.5, np.full(len(wait_scales), 0.5 / len(wait_scales)))
    return Envelope(coefficients, np.array([absolute_s**2, relative**2]), shares, wait_scales)


def weighted_nnls(design: FloatArray, target: FloatArray, weights: FloatArray) -> FloatArray:
    """Solve non-negative least squares: the x >= 0 (q) that minimizes sum of weights · (design x - target)².

    The q × q normal equations are solved, with columns scaled alike, so that the cost hardly grows with the requests.
    """
    weighted = design * weights[:, None]
    gram, moment = design.T @ weighted, weighted.T @ target
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    gram = gram / scale[:, None] / scale + 1e-10 * np.eye(len(scale))
    solution = np.linalg.solve(gram, moment / scale)
    if solution.min() < 0.0:
        factor = np.linalg.cholesky(gram)
        solution, _ = nnls(factor.T, np.linalg.solve(factor, moment / scale))
    return np.asarray(solution / scale)
