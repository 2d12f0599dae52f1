"""Contention that requests met: classify their waits by cause, as far as times alone allow.

- *cold start*: a wait of a request that opens a session (the first of a run, or after a pause of ten minutes), if
  openers wait more often than by chance;
- *retry*: a wait that lies in a cluster around one value, as a failed try and a fixed back-off make it, and is at
  least the shortest usual back-off;
- *queue*: any other wait; waits in line are spread like an exponential or a mixture of such;
- *too fast*: faster than the service can be: prefix caches, miscounted tokens.

References:
    Schwarz, Estimating the dimension of a model, Annals of Statistics 6 (1978): BIC, the test that accepts clusters.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from helm_efficiency.core.arrays import BoolArray, FloatArray
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import ServiceFit

KINDS = ("uncontended", "queue", "retry", "cold start", "too fast")

_SESSION_PAUSE_S = 600.0
_MIN_BACK_OFF_S = 0.375  # shortest back-off of OpenAI's client: 0.5 s, less up to a quarter
_MIN_WAITS = 20  # fewest waits in which a cluster is looked for
_CLUSTER_SPREAD = (0.02, 0.4)  # allowed standard deviations of a cluster, of the logarithm of the wait
_WAIT_SCALES = np.geomspace(0.03, 10.0, 8)  # scales of the exponentials, in mean waits
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, eq=False)
class Contention:
    """Observed against denoised seconds of each request.

    Attributes:
        ratio: Observed ÷ denoised seconds of each request (n).
        wait_s: Observed − denoised seconds of each contended request (n), 0 for others.
        kind: Kind of each request (n), one of `KINDS`.
        burstiness: Probability of being contended after a contended request ÷ that after another one; 1 for no bursts.
    """

    ratio: FloatArray
    wait_s: FloatArray
    kind: NDArray[np.str_]
    burstiness: float

    def share(self, kind: str) -> float:
        """Return the share of the requests that are of a kind."""
        return float(np.mean(self.kind == kind))

    def contended_share(self) -> float:
        """Return the share of the requests that waited for any reason."""
        return float(np.mean(self.wait_s > 0))

    def ratio_quantiles(self) -> dict[str, float]:
        """Return the mean, the 5th to 95th percentiles and the maximum of observed ÷ denoised."""
        quantiles = np.quantile(self.ratio, _QUANTILES)
        named = {f"p{100 * q:.0f}": float(value) for q, value in zip(_QUANTILES, quantiles, strict=True)}
        return {"mean": float(self.ratio.mean()), **named, "max": float(self.ratio.max())}


def explain(log: ServiceLog, service: ServiceFit) -> Contention:
    """Classify the waits of requests by cause.

    Args:
        log: Requests to the service, in the order in which they were made.
        service: Model of their seconds without contention.
    """
    denoised_s = service.denoised_s(log.prompt_tokens, log.output_tokens).value
    membership = service.memberships(log).argmax(axis=1)
    contended = membership == 1
    wait_s = np.where(contended, log.seconds - denoised_s, 0.0)
    kind = np.array(KINDS)[np.array([0, 1, 4])[membership]]
    cold = _cold_starts(log, contended)
    others = np.flatnonzero(contended & ~cold)
    # one cluster for each number of retries
    while (clustered := _clustered(wait_s[others])).any() and np.median(wait_s[others][clustered]) > _MIN_BACK_OFF_S:
        kind[others[clustered]] = "retry"
        others = others[~clustered]
    kind[cold] = "cold start"
    return Contention(log.seconds / denoised_s, wait_s, kind, _burstiness(contended))


def _cold_starts(log: ServiceLog, contended: BoolArray) -> BoolArray:
    opens = np.append(True, log.run[1:] != log.run[:-1])
    opens[1:] |= np.diff(log.requested_at) > _SESSION_PAUSE_S  # false where a time is unknown
    cold = opens & contended
    usual = (contended[~opens].sum() + 1.0) / (np.sum(~opens) + 2.0)
    if cold.any() and binomtest(int(cold.sum()), int(opens.sum()), usual, alternative="greater").pvalue < 0.05:
        return np.asarray(cold)
    return np.zeros(len(log), dtype=np.bool_)


def _burstiness(contended: BoolArray) -> float:
    after, before = contended[1:], contended[:-1]
    if not before.any() or before.all() or not after[~before].any():
        return 1.0
    return float(after[before].mean() / after[~before].mean())


def _clustered(wait_s: FloatArray) -> BoolArray:
    """Return a mask of the waits in a cluster; all False if falling densities alone explain them as well."""
    if len(wait_s) < _MIN_WAITS:
        return np.zeros(len(wait_s), dtype=np.bool_)
    y = wait_s / wait_s.mean()
    falling, _ = _mixture(y, None)
    fits = [_mixture(y, float(center)) for center in np.quantile(np.log(y), (0.2, 0.4, 0.6, 0.8, 0.95))]
    log_likelihood, probability = max(fits, key=lambda fit: fit[0])
    # BIC penalty for the four parameters of a cluster: its presence, share, center and spread
    penalty = 2.0 * np.log(len(y))
    return np.asarray((probability > 0.5) & (log_likelihood - falling > penalty))


def _mixture(y: FloatArray, center: float | None) -> tuple[float, FloatArray]:
    """Fit exponentials of fixed scales, and a log-normal cluster that begins at `center` (of log y) if given.

    Returns:
        The log-likelihood, and the probability (n) that each wait belongs to the cluster.
    """
    log_y = np.log(y)
    falling = np.exp(-y[:, None] / _WAIT_SCALES) / _WAIT_SCALES
    shares = np.full(len(_WAIT_SCALES) + 1, 1.0 / (len(_WAIT_SCALES) + 1))
    mean, spread = (0.0, 1.0) if center is None else (center, 0.1)
    if center is None:
        shares[-1] = 0.0
    for _ in range(100):
        cluster = np.exp(-0.5 * ((log_y - mean) / spread) ** 2) / (np.sqrt(2.0 * np.pi) * spread * y)
        joint = np.column_stack([falling, cluster]) * shares
        density = joint.sum(axis=1)
        probability = joint / density[:, None]
        shares = probability.mean(axis=0)
        own = probability[:, -1]
        if own.sum() > 0:
            mean = float(own @ log_y / own.sum())
            spread = float(np.clip(np.sqrt(own @ (log_y - mean) ** 2 / own.sum()), *_CLUSTER_SPREAD))
    return float(np.log(density).sum()), own
