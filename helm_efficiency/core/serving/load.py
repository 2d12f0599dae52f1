"""The load of a server: a number of clients, a rate of arrivals, or the highest rate that keeps a service level."""

import math
import re
from dataclasses import dataclass
from typing import Self

from helm_efficiency.errors import InputError

QUANTILES = ("mean", "p50", "p95")
"""Quantiles at which a service level may be kept: the mean, the median or 95 % of the requests."""


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """Times that a server has to keep, each at a quantile of the requests.

    Attributes:
        ttft_s: Seconds to the first token.
        tpot_s: Seconds of each further output token.
        quantile: Quantile of the requests, one of `QUANTILES`.
    """

    ttft_s: float = 1.0
    tpot_s: float = 0.05
    quantile: str = "p95"

    def __post_init__(self) -> None:
        if not (self.ttft_s > 0 and self.tpot_s > 0) or self.quantile not in QUANTILES:
            raise InputError(
                f"Service level with a TTFT of {self.ttft_s} s and a TPOT of {self.tpot_s} s at {self.quantile!r}: "
                f"expected times above 0 and one of {', '.join(QUANTILES)}."
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a service level such as `ttft=1s,tpot=50ms`, with `at=p50` for another quantile.

        Raises:
            InputError: The text has another key, or a time without a unit.

        Example:
            >>> ServiceLevel.parse("ttft=500ms,tpot=0.03s")
            ServiceLevel(ttft_s=0.5, tpot_s=0.03, quantile='p95')
        """
        values: dict[str, float] = {}
        quantile = "p95"
        for part in text.split(","):
            key, _, value = part.strip().partition("=")
            time = re.fullmatch(r"(\d+\.?\d*|\.\d+)(ms|s)", value.strip())
            if key == "at":
                quantile = value.strip()
            elif key in ("ttft", "tpot") and time:
                values[f"{key}_s"] = float(time[1]) / (1000.0 if time[2] == "ms" else 1.0)
            else:
                raise InputError(f"Service level {text!r}: expected such as ttft=1s,tpot=50ms or ttft=1s,at=p50.")
        return cls(**values, quantile=quantile)

    def __str__(self) -> str:
        """Return the text that `parse` reads back.

        >>> str(ServiceLevel())
        'ttft=1s,tpot=0.05s,at=p95'
        """
        return f"ttft={self.ttft_s:g}s,tpot={self.tpot_s:g}s,at={self.quantile}"


DEFAULT_LEVEL = ServiceLevel()
"""First token within a second and 20 tokens per second for 95 % of the requests: fast enough for a reader."""


MEASURED_ROUNDS = 10.0
"""Requests that each client sends in a usual benchmark (InferenceX, GenAI-Perf, vLLM's own)."""


@dataclass(frozen=True, slots=True)
class Load:
    """A stated load: clients or a rate, or else the highest rate that keeps a service level.

    Attributes:
        clients: Clients of a closed loop; None for another kind of load.
        rounds: Requests that each client sends after all have started together; infinite for a steady state. Benchmarks
            include the first requests, which queue for one another's prompts: see `MEASURED_ROUNDS`.
        requests_per_s: Rate of Poisson arrivals; None for another kind of load.
        level: Service level to keep if neither clients nor a rate are given.
    """

    clients: float | None = None
    requests_per_s: float | None = None
    rounds: float = math.inf
    level: ServiceLevel = DEFAULT_LEVEL

    def __post_init__(self) -> None:
        if self.clients is not None and self.requests_per_s is not None:
            raise InputError("A load is a number of clients or a rate of requests, not both.")
        if not self.rounds >= 1:
            raise InputError(f"{self.rounds} rounds: expected 1 or more.")

    def __str__(self) -> str:
        """Return a short text for a heading.

        >>> str(Load(clients=16)), str(Load(requests_per_s=0.5)), str(Load())
        ('16 clients', '0.5 requests/s', 'ttft=1s,tpot=0.05s,at=p95')
        """
        if self.clients is not None:
            return f"{self.clients:g} client" + "s" * (self.clients != 1)
        return str(self.level) if self.requests_per_s is None else f"{self.requests_per_s:g} requests/s"


DEFAULT_LOAD = Load()
"""The highest rate that keeps the default service level."""
