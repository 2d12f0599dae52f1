"""What seconds cost: accelerator-seconds, dollars, joules, and each of them for one correct answer.

    accelerator_s = seconds * num_accelerators / batch_size
    usd           = accelerator_s / 3600 * usd_per_accelerator_hour
    energy_j      = accelerator_s * tdp_w * utilization_fraction        an estimate, where none was measured

Two serving profiles, each by name: `latency` is one request at a time (batch size 1, as in Narayanan et al., NeurIPS
2023); `throughput` is a stated batch, whose requests share its accelerators. In the second, `seconds` are those of the
whole batch.
"""

from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from helm_efficiency.errors import InputError

FloatArray = NDArray[np.float64]

SECONDS_PER_HOUR = 3600


class IdealizedCost(NamedTuple):
    """What requests take of the accelerators, each field an array of the shape of their seconds.

    Attributes:
        accelerator_s: Seconds × accelerators ÷ batch size.
        usd: Dollars; None where there is no price.
    """

    accelerator_s: FloatArray
    usd: FloatArray | None


def idealized_cost(
    seconds: ArrayLike,
    num_accelerators: ArrayLike,
    usd_per_accelerator_hour: Decimal | None,
    *,
    batch_size: ArrayLike = 1,
) -> IdealizedCost:
    """Cost of requests that have the accelerators to themselves, or share them with a batch.

    Dollars are rounded once, to the nearest float64; `exact_usd` gives them and their sums as decimals.

    Args:
        seconds: Of a request, or of the batch it is served in; any shape. NaN where unknown.
        num_accelerators: That the model instance occupies; broadcast against `seconds`.
        usd_per_accelerator_hour: Exact price; None if unknown.
        batch_size: Requests that share the accelerators; broadcast likewise.

    Returns:
        Accelerator-seconds, and dollars or None.

    Raises:
        InputError: Less than one accelerator or request, negative seconds, or a price that is not above 0.

    >>> idealized_cost([0.402007], 8, Decimal("4.096")).usd.round(6).tolist()
    [0.003659]
    """
    s, n, b = np.broadcast_arrays(np.asarray(seconds, dtype=np.float64), num_accelerators, batch_size)
    if s.size and (n.min() < 1 or b.min() < 1 or np.any(s < 0)):
        raise InputError("Seconds must be 0 or more, accelerators and batch sizes 1 or more.")
    accelerator_s = np.asarray(s * n / b, dtype=np.float64)
    if usd_per_accelerator_hour is None:
        return IdealizedCost(accelerator_s, None)
    if not usd_per_accelerator_hour > 0:
        raise InputError(f"The price is {usd_per_accelerator_hour} dollars an hour, expected more than 0.")
    return IdealizedCost(accelerator_s, accelerator_s * float(usd_per_accelerator_hour / SECONDS_PER_HOUR))


def exact_usd(accelerator_s: float, usd_per_accelerator_hour: Decimal) -> Decimal:
    """Dollars of an amount of accelerator-seconds, to 28 digits.

    >>> exact_usd(3600.0, Decimal("4.096"))
    Decimal('4.096')
    """
    return Decimal(accelerator_s) * usd_per_accelerator_hour / SECONDS_PER_HOUR


def estimated_energy_j(accelerator_s: ArrayLike, tdp_w: float | None, utilization_fraction: float) -> FloatArray | None:
    """Energy by thermal design power, for where none was measured; always to be shown as an estimate.

    Args:
        accelerator_s: Any shape.
        tdp_w: Of one accelerator; None if unknown.
        utilization_fraction: Share of that power taken to be drawn, in (0, 1].

    Returns:
        Joules, shaped like `accelerator_s`; None where the power is unknown.

    Raises:
        InputError: A utilization outside (0, 1].
    """
    if not 0 < utilization_fraction <= 1:
        raise InputError(f"Utilization is {utilization_fraction}, expected a fraction above 0 and up to 1.")
    if tdp_w is None:
        return None
    return np.asarray(np.asarray(accelerator_s, dtype=np.float64) * tdp_w * utilization_fraction)
