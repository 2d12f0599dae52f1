"""Estimate the time and cost of requests on a busy, well-run server, each among the other requests of its run.

A request alone on whole accelerators is a fair basis for comparing runtimes, but not costs: servers batch. Here the
requests of a run arrive at one server as a stated load, by default the highest rate that keeps a service level, and
share the time of its accelerators (see `core.serving`).
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from helm_efficiency.catalog.accelerators import load_accelerators
from helm_efficiency.catalog.architectures import load_architectures
from helm_efficiency.catalog.energy import published_energy
from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Stack
from helm_efficiency.core.serving.lengths import Lengths
from helm_efficiency.core.serving.load import DEFAULT_LOAD, Load
from helm_efficiency.core.serving.served import Served
from helm_efficiency.core.serving.server import Server, Speculation, kv_cache_tokens
from helm_efficiency.core.serving.steady_state import solve
from helm_efficiency.core.serving.steps import StepTimes
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.placement import BYTES_PER_PARAMETER, Serving, place_on
from helm_efficiency.errors import CatalogError, EfficiencyError, InputError


@dataclass(frozen=True, slots=True)
class BusyServer:
    """Load of a server, and the techniques that it uses to be quick.

    Attributes:
        load: Number of clients, rate of requests, or service level to keep.
        speculation: Speculative decoding; None for none.
        prefix_cache: True if prompt tokens that the provider's cache held need no prefill on this server either.
    """

    load: Load = DEFAULT_LOAD
    speculation: Speculation | None = None
    prefix_cache: bool = False

    def __str__(self) -> str:
        """Return the words for a heading.

        >>> str(BusyServer(Load(clients=8), Speculation(3, 0.7), prefix_cache=True))
        '8 clients, 3 drafted tokens of which 70 % are accepted, prefix cache'
        """
        words = [str(self.load)]
        if self.speculation is not None:
            accepted = f"{100 * self.speculation.acceptance_fraction:g} %"
            words.append(f"{self.speculation.draft_tokens} drafted tokens of which {accepted} are accepted")
        return ", ".join(words + ["prefix cache"] * self.prefix_cache)


DEFAULT_BUSY_SERVER = BusyServer()
"""Server at the highest rate that keeps the default service level."""


class Requests(NamedTuple):
    """Token counts of the requests of one deployment: arrays with one entry for each request.

    Attributes:
        prompt_tokens: Prompt tokens.
        output_tokens: Output tokens of the longest completion.
        completions: Number of completions of the request.
        cached_tokens: Prompt tokens that the provider's cache held.
    """

    prompt_tokens: FloatArray
    output_tokens: FloatArray
    completions: FloatArray
    cached_tokens: FloatArray


class Loaded(NamedTuple):
    """Times of requests at load: arrays with one entry for each request; NaN if unknown.

    Attributes:
        seconds: Mean seconds from sending the request to its last token.
        accelerator_s: Accelerator-seconds that the request pays for.
        energy_j: Energy (J), divided in the same way, by published measurements of that accelerator at that batch.
    """

    seconds: FloatArray
    accelerator_s: FloatArray
    energy_j: FloatArray


def server_on(stack: Stack, architecture: Architecture, *, memory_bytes: float, context_tokens: float) -> Server:
    """Return the server of a model on a stack: its scheduling, and the cache that fits next to the weights.

    Args:
        stack: Accelerators, engine and dtype.
        architecture: Sizes of the model.
        memory_bytes: Memory of one accelerator (bytes).
        context_tokens: Typical number of tokens of a whole request.

    Raises:
        CatalogError: The size of a weight in bytes is not known.
        InputError: The weights leave no room for a request.
    """
    dtype = {"mxfp4": "fp4"}.get(stack.dtype, stack.dtype)
    if dtype not in BYTES_PER_PARAMETER:
        raise CatalogError(f"bytes of a weight unknown: dtype {stack.dtype!r}")
    context = max(round(context_tokens), 1)
    ways = (max(stack.num_accelerators // stack.pipeline_parallel, 1), stack.pipeline_parallel)
    placement = place_on(architecture, Serving(dtype=dtype, context_tokens=context), memory_bytes, ways)
    kv_tokens = kv_cache_tokens(architecture, placement, context_tokens=context)
    if kv_tokens < context:
        raise InputError("the weights leave no room for a request")
    return Server.of_engine(stack.engine, num_accelerators=stack.num_accelerators, kv_tokens=kv_tokens)


def _server_of(fit: Fit, context_tokens: float) -> Server:
    """Return the server of a fit; the catalog has to know its accelerator and its model."""
    accelerator = load_accelerators().get(fit.stack.accelerator)
    if accelerator is None or accelerator.memory_bytes is None:
        raise CatalogError(f"memory of {fit.stack.accelerator} unknown")
    entry = load_architectures().of_model(fit.deployment)
    if entry is None:
        raise CatalogError(f"architecture of {fit.deployment} unknown")
    memory_bytes = accelerator.memory_bytes
    return server_on(fit.stack, entry.architecture, memory_bytes=memory_bytes, context_tokens=context_tokens)


def serve(fit: Fit, requests: Requests, busy: BusyServer) -> tuple[Served, Loaded]:
    """Serve requests on the server of a stack, and divide its accelerators' time among them.

    The completions of a request share its prompt: the first one prefills it, the others find it in the cache.

    Raises:
        EfficiencyError: The server, the load or measurements of batches are missing; the message says which.
    """
    if len(fit.coefficients.batch_knots) < 2:
        raise InputError("measured at one batch size alone")
    p, o, completions, cached = requests
    q = np.minimum(cached, p) if busy.prefix_cache else np.zeros_like(p)
    twins = np.repeat(np.arange(len(p)), (completions - 1.0).astype(np.int64))
    again = np.maximum(p[twins] - 1.0, 0.0)
    lengths = Lengths.of(np.r_[p, p[twins]], np.r_[o, o[twins]], np.r_[q, again])
    context = lengths.mean(lengths.prompt_tokens + lengths.output_tokens)
    server = replace(_server_of(fit, context), speculation=busy.speculation)
    served = solve(StepTimes.from_coefficients(fit.coefficients), lengths, busy.load, server=server)
    if served is None:
        raise InputError(f"one request alone breaks {busy.load}")
    shares = served.split_accelerator_s(np.r_[p, p[twins]], np.r_[o, o[twins]], np.r_[q, again])
    accelerator_s = shares[: len(p)] + np.bincount(twins, weights=shares[len(p) :], minlength=len(p))
    return served, Loaded(served.times_s(p, o, q)[1], accelerator_s, _energy_j(fit, requests, served, accelerator_s))


def _energy_j(fit: Fit, requests: Requests, served: Served, accelerator_s: FloatArray) -> FloatArray:
    """Return the energy (J) of requests, in proportion to their accelerator-seconds; NaN if none was published."""
    entry = load_architectures().of_model(fit.deployment)
    lengths = float(requests.prompt_tokens.mean()), float((requests.output_tokens * requests.completions).mean())
    found = published_energy(fit.stack, entry.architecture if entry else None, lengths, batch=served.running_batch)
    if found is None:
        return np.full(len(accelerator_s), np.nan)
    return np.asarray(found.energy.joules * accelerator_s / accelerator_s.mean())


def loaded(fit: Fit, requests: Requests, busy: BusyServer) -> tuple[Loaded, str]:
    """Return the times of requests at load and an empty text, or NaN and the reason."""
    try:
        return serve(fit, requests, busy)[1], ""
    except EfficiencyError as error:
        nothing = np.full(len(requests.prompt_tokens), np.nan)
        return Loaded(nothing, nothing, nothing), str(error)
