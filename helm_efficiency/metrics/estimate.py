"""Estimate the time and cost of a workload on some hardware, alone and under load, from the best coefficients."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.catalog.accelerators import Price
from helm_efficiency.catalog.energy import published_energy
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.cost import accelerator_usd
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import MEASURED_ROUNDS, Load
from helm_efficiency.core.serving.served import BEYOND_BATCH_ERROR, TPOT_ERROR, TTFT_ERROR, Served, widened
from helm_efficiency.core.serving.server import Server
from helm_efficiency.core.serving.steady_state import solve
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import CatalogError, InputError, InsufficientMeasurementsError
from helm_efficiency.metrics.at_load import server_on


@dataclass(frozen=True, slots=True)
class Workload:
    """Requests that are to be served.

    Attributes:
        prompt_tokens: Prompt tokens of each request.
        output_tokens: Output tokens of each request.
        load: Load of the server that gets the requests; None for one request at a time.
    """

    prompt_tokens: FloatArray
    output_tokens: FloatArray
    load: Load | None = None

    @classmethod
    def of(cls, prompt_tokens: ArrayLike, output_tokens: ArrayLike, load: Load | None = None) -> "Workload":
        """Return a workload of one kind of request, or of several.

        Raises:
            InputError: The workload has no request, or a request without prompt or output.
        """
        p, o = (np.ravel(x).astype(np.float64) for x in np.broadcast_arrays(prompt_tokens, output_tokens))
        if not p.size or p.min() < 1 or o.min() < 1:
            raise InputError("A workload needs requests of at least one prompt and one output token.")
        return cls(p, o, load)


@dataclass(frozen=True, slots=True)
class Times:
    """Mean seconds of the requests of a workload.

    Attributes:
        ttft_s: Seconds from sending a request to its first output token.
        tpot_s: Seconds of each further output token; NaN if no request has a second output token.
        request_s: Seconds from sending a request to its last output token.
        output_tok_per_s: Output tokens per second of all accelerators together.
        accelerator_s: Accelerator-seconds that a request takes, its share of idle time included.
        concurrency: Mean number of requests in flight.
        limited_by: Limit that keeps more requests from running at once; empty for none.
        extrapolated: Ratio of the batch to the largest measured batch; 1 if the batch is within the measured ones.
    """

    ttft_s: float
    tpot_s: float
    request_s: float
    output_tok_per_s: float
    accelerator_s: float
    concurrency: float
    limited_by: str = ""
    extrapolated: float = 1.0


def times_alone(fit: Fit, workload: Workload) -> Times:
    """Return the times of requests that are sent one at a time."""
    p, o = workload.prompt_tokens, workload.output_tokens
    request_s = float(np.mean(fit.coefficients.predict(p, o).seconds))
    ttft_s = float(np.mean(fit.coefficients.predict(p, np.ones_like(o)).seconds))
    steps = float(np.mean(o - 1.0))
    return Times(
        ttft_s=ttft_s,
        tpot_s=(request_s - ttft_s) / steps if steps else np.nan,
        request_s=request_s,
        output_tok_per_s=float(np.mean(o)) / request_s,
        accelerator_s=request_s * fit.stack.num_accelerators,
        concurrency=1.0,
    )


def times_at_load(fit: Fit, workload: Workload, server: Server) -> Times | None:
    """Return the times of requests on a server under load; None if no load keeps the service level.

    Clients of a closed loop behave as in benchmarks: they start together and send ten requests each, and the first
    token comes as late as in the engine's public benchmarks.

    Raises:
        InsufficientMeasurementsError: The coefficients come from one batch size only.
        InputError: The server cannot take the load.
    """
    load = workload.load
    assert load is not None
    if load.clients is not None:
        server, load = server.as_benchmarked(fit.stack.engine), replace(load, rounds=MEASURED_ROUNDS)
    lengths = Lengths.of(workload.prompt_tokens, workload.output_tokens)
    served = solve(StepTimes.from_coefficients(fit.coefficients), lengths, load, server=server)
    return None if served is None else _times(served, workload)


def _times(served: Served, workload: Workload) -> Times:
    shares = served.accelerator_s(workload.prompt_tokens, workload.output_tokens)
    in_flight = served.requests_per_s * served.request_s.mean if served.clients is None else served.clients
    return Times(
        ttft_s=served.ttft_s.mean,
        tpot_s=served.tpot_s.mean,
        request_s=served.request_s.mean,
        output_tok_per_s=served.output_tok_per_s_per_accelerator * served.server.num_accelerators,
        accelerator_s=float(np.mean(shares)),
        concurrency=in_flight,
        limited_by=served.limited_by,
        extrapolated=served.extrapolated,
    )


def server_of(fit: Fit, architecture: Architecture | None, workload: Workload, memory_bytes: float | None) -> Server:
    """Return the server of a stack: its scheduling, and the key-value cache that fits next to the weights."""
    stack = fit.stack
    if architecture is None or memory_bytes is None:
        return Server.of_engine(stack.engine, num_accelerators=stack.num_accelerators)
    context = float(np.mean(workload.prompt_tokens + workload.output_tokens))
    try:
        return server_on(stack, architecture, memory_bytes=memory_bytes, context_tokens=context)
    except CatalogError:
        return Server.of_engine(stack.engine, num_accelerators=stack.num_accelerators)


def estimate_row(
    fit: Fit, workload: Workload, times: Times, price: Price | None, architecture: Architecture | None = None
) -> dict[str, Any]:
    """Return one row of an estimate.

    The interval is that of the coefficients, as a share of the number: a server under load is as uncertain as its
    passes. Dollars have the interval of the requests. Energy comes from published measurements of the accelerator.
    """
    alone = fit.coefficients.predict(workload.prompt_tokens, workload.output_tokens)
    whole = _relative(alone)
    first = _relative(fit.coefficients.predict(workload.prompt_tokens, np.ones_like(workload.output_tokens)))
    if workload.load is not None and times.concurrency != 1.0:
        beyond = BEYOND_BATCH_ERROR * math.log2(times.extrapolated)
        whole, first = (widened(ends, math.hypot(e, beyond)) for ends, e in ((whole, TPOT_ERROR), (first, TTFT_ERROR)))
    usd_per_s = None if price is None else float(accelerator_usd(1.0, price.usd_per_accelerator_hour))
    usd = None if usd_per_s is None else times.accelerator_s * usd_per_s
    tokens = float(np.mean(workload.prompt_tokens + workload.output_tokens))
    accelerators = fit.stack.num_accelerators
    return {
        "model": fit.deployment,
        "stack": fit.stack.name,
        "tier": fit.tier.value,
        "accelerator": fit.stack.accelerator,
        "engine": fit.stack.engine,
        "dtype": fit.stack.dtype,
        "num_accelerators": accelerators,
        "prompt_tokens": _count(workload.prompt_tokens),
        "output_tokens": _count(workload.output_tokens),
        "num_requests": len(workload.prompt_tokens),
        "concurrency": times.concurrency,
        **_three("ttft", times.ttft_s, first),
        **_three("tpot", times.tpot_s, whole),
        **_three("request", times.request_s, whole),
        "output_tok_per_s": times.output_tok_per_s,
        "output_tok_per_s_per_accelerator": times.output_tok_per_s / accelerators,
        **_dollars("usd_per_1k_requests", usd, 1e3, whole),
        **_dollars("usd_per_1m_tokens", usd, 1e6 / tokens, whole),
        "usd_per_accelerator_hour": None if price is None else float(price.usd_per_accelerator_hour),
        "price_date": None if price is None else price.date.isoformat(),
        "price_source": None if price is None else price.source,
        **_energy(fit, workload, times, architecture),
        "in_domain": bool(np.all(alone.in_domain)) and times.extrapolated == 1.0,
        "limited_by": times.limited_by or None,
    }


def estimate_rows(
    fits: Sequence[Fit],
    workloads: Iterable[Workload],
    *,
    architecture: Architecture | None,
    memory_bytes: float | None,
    price: Price | None,
) -> Iterator[dict[str, Any]]:
    """Yield one row for each workload, from the strongest evidence that covers it.

    Args:
        fits: Coefficients of the model on the hardware, the strongest evidence first.
        workloads: Workloads to estimate.
        architecture: Sizes of the model, for the key-value cache; None for a cache without limit.
        memory_bytes: Memory of one accelerator (bytes); None for a cache without limit.
        price: Price of one accelerator; with None, dollars are missing.

    Raises:
        InsufficientMeasurementsError: The coefficients come from single requests only and cannot predict a load.
    """
    for workload in workloads:
        if workload.load is None or workload.load.clients == 1:
            yield estimate_row(fits[0], workload, times_alone(fits[0], workload), price, architecture)
            continue
        fit = next((fit for fit in fits if len(fit.coefficients.batch_knots) > 1), None)
        if fit is None:
            raise InsufficientMeasurementsError(
                f"{fits[0].deployment} was measured one request at a time on {fits[0].stack.name}, which says nothing "
                "of several. Profile batches (--batch-sizes 1,8,32), or ask for --concurrency 1."
            )
        server = server_of(fit, architecture, workload, memory_bytes)
        times = times_at_load(fit, workload, server)
        if times is not None:
            yield estimate_row(fit, workload, times, price, architecture)


def _energy(fit: Fit, workload: Workload, times: Times, architecture: Architecture | None) -> dict[str, Any]:
    """Return the energy of a mean request at the load, if energy was published for the accelerator."""
    lengths = (float(np.mean(workload.prompt_tokens)), float(np.mean(workload.output_tokens)))
    found = published_energy(fit.stack, architecture, lengths, batch=times.concurrency)
    if found is None:
        return {"energy_j": None, "energy_low_j": None, "energy_high_j": None, "energy_from": None}
    energy = found.energy
    return {
        "energy_j": energy.joules,
        "energy_low_j": energy.low_j,
        "energy_high_j": energy.high_j,
        "energy_from": found.source,
    }


def _relative(predicted: Any) -> tuple[float, float]:
    """Return the ends of the interval of a mean as shares of the mean; errors of requests are fully correlated."""
    mean = float(np.mean(predicted.seconds))
    return float(np.mean(predicted.low_s)) / mean, float(np.mean(predicted.high_s)) / mean


def _three(name: str, seconds: float, ends: tuple[float, float]) -> dict[str, float | None]:
    if np.isnan(seconds):
        return {f"{name}_s": None, f"{name}_low_s": None, f"{name}_high_s": None}
    return {f"{name}_s": seconds, f"{name}_low_s": seconds * ends[0], f"{name}_high_s": seconds * ends[1]}


def _dollars(name: str, usd: float | None, number: float, ends: tuple[float, float]) -> dict[str, float | None]:
    if usd is None:
        return {name: None, f"{name}_low": None, f"{name}_high": None}
    return {name: usd * number, f"{name}_low": usd * number * ends[0], f"{name}_high": usd * number * ends[1]}


def _count(tokens: FloatArray) -> float:
    """Return a mean count, as an int if it is whole."""
    mean = float(np.mean(tokens))
    return int(mean) if mean.is_integer() else mean
