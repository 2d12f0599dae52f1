"""Compare own accelerators with an API: cost of a request on each, and the load from which owning is cheaper."""

from dataclasses import dataclass
from decimal import Decimal

from helm_efficiency.core.cost import SECONDS_PER_HOUR
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.served import Served
from helm_efficiency.errors import InputError


@dataclass(frozen=True, slots=True)
class OwnOrApi:
    """Cost of a workload on owned accelerators and by an API.

    Attributes:
        requests_per_s: Load of one instance of the model.
        own_usd_per_1k_requests: Dollars of the accelerators for 1,000 requests at that load.
        own_usd_per_1m_tokens: Dollars for a million tokens, prompt and output together.
        api_usd_per_1k_requests: Dollars of the API for 1,000 requests; None without a price.
        api_usd_per_1m_tokens: Dollars of the API for a million tokens; None without a price.
        own_is_cheaper_above_requests_per_s: Rate from which owning is cheaper; None without a price.
        is_within_reach: True if one instance completes that many requests under the load's conditions; None without a
            price.
    """

    requests_per_s: float
    own_usd_per_1k_requests: float
    own_usd_per_1m_tokens: float
    api_usd_per_1k_requests: float | None
    api_usd_per_1m_tokens: float | None
    own_is_cheaper_above_requests_per_s: float | None
    is_within_reach: bool | None


def own_or_api(
    served: Served,
    lengths: Lengths,
    *,
    usd_per_accelerator_hour: Decimal,
    api_usd_per_request: float | None,
) -> OwnOrApi:
    """Compare owned accelerators at a load with an API.

    The cost of owned accelerators does not depend on how busy they are. So a request costs accelerators × price / rate,
    and owning is cheaper above accelerators × price / API price. An API bills reasoning tokens as output and cached
    prompt tokens at a rate of their own: both are included in the given price of a request.

    Args:
        served: Server under the load, such as the highest load that keeps a service level.
        lengths: Requests of the load.
        usd_per_accelerator_hour: Exact price of an accelerator in dollars.
        api_usd_per_request: Mean bill of a request in dollars; None if the price is unknown.

    Raises:
        InputError: A price is not above 0.

    Example:
        >>> from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
        >>> from helm_efficiency.core.serving.steady_state import closed_loop
        >>> from helm_efficiency.core.serving.steps import StepTimes
        >>> knots = ((1, 1.0, 0.01), (64, 1.0, 0.02))
        >>> numbers = RuntimeCoefficients("linear", ((1, 0.1),), 0.01, Domain(1, 9, 1, 9, 64), batch_knots=knots)
        >>> served = closed_loop(StepTimes.from_coefficients(numbers), Lengths.of(900, 91), clients=1)  # 1 s a request
        >>> found = own_or_api(
        ...     served, Lengths.of(900, 91), usd_per_accelerator_hour=Decimal("3.6"), api_usd_per_request=0.0004
        ... )
        >>> round(found.own_usd_per_1k_requests, 6), round(found.own_is_cheaper_above_requests_per_s, 6)
        (1.0, 2.5)
    """
    if not usd_per_accelerator_hour > 0 or (api_usd_per_request is not None and not api_usd_per_request > 0):
        raise InputError(
            f"Prices are {usd_per_accelerator_hour} dollars an hour and {api_usd_per_request} a request, expected more "
            "than 0."
        )
    usd_per_s = float(usd_per_accelerator_hour / SECONDS_PER_HOUR) * served.server.num_accelerators
    own_usd = usd_per_s / served.requests_per_s
    tokens = max(lengths.mean_prompt_tokens + lengths.mean_output_tokens, 1.0)
    accelerators, api_usd = served.server.num_accelerators, api_usd_per_request
    enough = None if api_usd is None else break_even_requests_per_s(accelerators, usd_per_accelerator_hour, api_usd)
    return OwnOrApi(
        requests_per_s=served.requests_per_s,
        own_usd_per_1k_requests=1e3 * own_usd,
        own_usd_per_1m_tokens=1e6 * own_usd / tokens,
        api_usd_per_1k_requests=None if api_usd_per_request is None else 1e3 * api_usd_per_request,
        api_usd_per_1m_tokens=None if api_usd_per_request is None else 1e6 * api_usd_per_request / tokens,
        own_is_cheaper_above_requests_per_s=enough,
        is_within_reach=None if enough is None else enough <= served.requests_per_s,
    )


def break_even_requests_per_s(
    num_accelerators: int, usd_per_accelerator_hour: Decimal, api_usd_per_request: float
) -> float:
    """Return the rate from which owned accelerators are cheaper than an API.

    >>> break_even_requests_per_s(4, Decimal(9), 0.002)
    5.0
    """
    return float(num_accelerators * usd_per_accelerator_hour / SECONDS_PER_HOUR) / api_usd_per_request
