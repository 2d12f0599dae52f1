"""Denoised runtime: the time that a service takes without contention, fitted to the service's own latencies.

    request_s(p, o) = overhead_s + prefill_s(p) + (o - 1) * decode_s_per_token        uncontended
                      + decode_s_per_context_token * sum over t = 1 … o-1 of (p + t)
    seen            = request_s(p, o), give or take a jitter, plus a wait where the request met contention

The coefficients are the lower envelope of the observed seconds (`core.services.envelope`), all at least 0 and prefill
monotone. `overhead_s` is the time left at no prompt tokens and one output token: network, queue handling, and the part
of the first forward pass that does not depend on the prompt; latencies alone cannot separate these parts. Terms that
the requests do not identify (decode, if nearly all answers have one token) are left out with a note, never guessed. The
context term is kept only if it makes the requests clearly likelier; without it, a service that decodes more slowly
after long prompts would look contended after each of them. If the client itself had several requests in flight, their
effect is taken out, or the estimate is an upper bound (`core.services.own_load`).

If the service itself changes (`core.services.drift`), its latest state is described. The paper's own estimator, the
minimum over trials, is `paper_minimum`.

References:
    Narayanan et al., NeurIPS 2023 (denoised runtime).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtrit

from helm_efficiency.core.arrays import FloatArray, IntArray
from helm_efficiency.core.fitting.fit import Fit, fit_profile
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.services.contention import Contention, explain
from helm_efficiency.core.services.drift import Period, find_changes, levels_between, weekly_levels
from helm_efficiency.core.services.envelope import MIN_UNCONTENDED_SHARE, WAIT_SCALES, Envelope, fit_envelope
from helm_efficiency.core.services.jackknife import covariance
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.model import Interval, RequestShape, ServiceFit
from helm_efficiency.core.services.own_load import OwnLoad, fit_own_load
from helm_efficiency.errors import InsufficientMeasurementsError

MIN_REQUESTS = 20
"""Requests needed for a fit; with fewer, contention cannot be separated from service."""

MAX_REQUESTS = 2500
"""Requests that are fitted at most, in 1 to 2 s; `denoise` thins a longer log evenly. With half as many, the part of
intervals that comes from the requests is 1.4 times as wide."""

_MIN_OTHER_LENGTHS = 5  # requests of another output length needed before a decode slope is tried
_MAX_GRID_LENGTHS = 12  # most distinct prompt lengths for which each is a knot
_MIN_PER_GRID_LENGTH = 3  # requests needed of each of these lengths
_MIN_PER_KNOT = 60  # requests per knot, in a log with prompts of any length
_MAX_KNOTS = 6
_MIN_LIKELIER = 4.0  # log-likelihood that a context term has to add: 2.7 are significant at 1 %, if requests come alone
# alternative assumptions, which show how far the estimate depends on the main ones
_WAIT_SCALE_FACTORS = (0.5, 2.5)
_FEWER_UNCONTENDED = 0.1
_MOSTLY_UNCONTENDED = 0.7  # share of uncontended requests above which it is not asked whether there might be few


def service_stack(deployment: str) -> Stack:
    """Return the stack that a deployment's own service counts as: `service-` and its host.

    >>> service_stack("groq/llama3-8b-8192").name
    'service-groq'
    """
    host = re.sub(r"[^A-Za-z0-9._+-]+", "-", deployment.partition("/")[0])
    return Stack(f"service-{host}", "service", engine=host)


def as_fit(service: ServiceFit, deployment: str) -> Fit:
    """Convert a service model to the form that the store keeps."""
    return Fit(
        deployment,
        service_stack(deployment),
        service.coefficients(),
        notes=service.notes,
        is_upper_bound=service.is_upper_bound,
    )


def fit_service(log: ServiceLog, *, load: OwnLoad | None = None) -> ServiceFit:
    """Fit the request time without contention to the observed times of a service.

    Args:
        log: Complete answers of one deployment, each computed alone as far as its client knows.
        load: Effect of the client's own load, already taken out of the log; its interval widens the service's.

    Returns:
        The service model. Terms that the requests do not identify are absent, with a note on how to get them.

    Raises:
        InsufficientMeasurementsError: There are fewer than 20 requests.
    """
    if len(log) < MIN_REQUESTS:
        raise InsufficientMeasurementsError(
            f"{len(log)} usable requests, expected at least {MIN_REQUESTS}: fewer do not tell contention from service. "
            "Send more, for instance with the run entry efficiency_probe."
        )
    usual = _usual_output_tokens(log)
    has_decode = int((log.output_tokens != usual).sum()) >= _MIN_OTHER_LENGTHS or bool(np.isfinite(log.ttft_s).any())
    knots = _knots(log)
    may_have_context = True
    while True:
        used = log if has_decode else log.where(log.output_tokens == usual)
        shape = RequestShape(knots, has_decode)
        service = _fit(used, *_likeliest(used, shape, may_have_context=may_have_context), load)
        decode, prefill = service.decode_s_per_token(), service.prefill_s_per_token()
        context = service.decode_s_per_context_token()
        if decode is not None and decode.low <= 0:
            has_decode = False
        elif prefill is not None and prefill.low <= 0:
            knots = (int(np.median(used.prompt_tokens)),)
        elif context is not None and context.low <= 0:
            may_have_context = False
        else:
            service = replace(service, is_upper_bound=_may_be_faster(used, service))
            return replace(service, notes=tuple(_notes(service, used)))


@dataclass(frozen=True, slots=True, eq=False)
class Denoised:
    """The latest state of a service, and the contention that its requests met.

    Attributes:
        log: Requests that the service model describes: a long log is thinned, and requests with an output length that
            the model does not identify are left out.
        service: Model of the request time without contention, since the last change.
        periods: Stretches between significant changes of the service, in order.
        weeks: Level of each week with enough requests.
        contention: Observed against denoised seconds of each request, at the level of the request's own period.
    """

    log: ServiceLog
    service: ServiceFit
    periods: tuple[Period, ...]
    weeks: tuple[Period, ...]
    contention: Contention


def denoise(log: ServiceLog) -> Denoised:
    """Fit a service, separate drift from contention, and fit the service again as it is after its last change.

    Args:
        log: Complete answers of one deployment, as for `fit_service`; seconds.

    Returns:
        The service without contention, in seconds with nominal 90 % intervals, and the contention that it met.

    Raises:
        InsufficientMeasurementsError: There are fewer than 20 requests, as for `fit_service`.

    Example:
        >>> import numpy as np
        >>> from helm_efficiency import ServiceLog, denoise
        >>> rng = np.random.default_rng(0)
        >>> p, o = rng.integers(50, 1000, 200), rng.integers(1, 100, 200)
        >>> waits = np.where(rng.random(200) < 0.3, rng.exponential(2.0, 200), 0.0)
        >>> seen = 0.2 + 1e-4 * p + 0.01 * (o - 1) + rng.normal(0, 0.005, 200) + waits
        >>> denoised = denoise(ServiceLog.of(p, o, seen))
        >>> bool(abs(denoised.service.decode_s_per_token().value - 0.01) < 0.001)
        True
    """
    observed, notes = _thinned(log)
    load = own_load(observed)
    log = _without_load(observed, load)
    service = fit_service(log, load=load)
    described = (log.output_tokens >= service.domain.min_output_tokens) & (
        log.output_tokens <= service.domain.max_output_tokens
    )
    observed, log = observed.where(described), log.where(described)
    changes = find_changes(log, service)
    if changes:
        since = datetime.fromtimestamp(log.requested_at[changes[-1]], UTC).strftime("%Y-%m-%d %H:%M")
        latest = log.where(np.arange(changes[-1], len(log)))
        alone = fit_service(latest, load=load)
        if alone.shape.identifies(service.shape):
            service, how = alone, "fitted to what came after"
        else:
            level_now = _at_last_level(log, levels_between(log, service, changes))
            service = fit_service(level_now, load=load)
            how = "earlier requests scaled to its level"
        notes.append(f"the service changed, last on {since} UTC: {how}")
        # search again: the changes are located more sharply now that the model is not a mixture of two services
        changes = find_changes(log, service) or changes
    periods = levels_between(log, service, changes)
    contention = explain(_at_last_level(observed, periods) if changes else observed, service)
    is_bound = service.is_upper_bound or (load is not None and not load.is_known)
    service = replace(service, is_upper_bound=is_bound, notes=(*service.notes, *_load_notes(load), *notes))
    return Denoised(observed, service, periods, weekly_levels(log, service), contention)


def own_load(log: ServiceLog) -> OwnLoad | None:
    """Return the effect of the client's simultaneous requests on each other; None if it sent one at a time."""
    if len(log) < MIN_REQUESTS or not np.isfinite(log.in_flight).any():
        return None
    usual = log.output_tokens == _usual_output_tokens(log)
    has_decode = int((~usual).sum()) >= _MIN_OTHER_LENGTHS
    used = log if has_decode else log.where(usual)
    design = RequestShape(_knots(used), has_decode).design(used.prompt_tokens, used.output_tokens)
    return fit_own_load(design, used.seconds, used.in_flight)


def _without_load(log: ServiceLog, load: OwnLoad | None) -> ServiceLog:
    """Return the log with seconds as if each request had been alone."""
    if load is None or not load.is_known:
        return log
    factor = np.where(np.isfinite(log.in_flight), log.in_flight, load.usual) ** load.exponent
    return replace(log, seconds=log.seconds / factor, ttft_s=log.ttft_s / factor)


def _load_notes(load: OwnLoad | None) -> list[str]:
    if load is None or (load.is_known and load.low <= 0.0):
        return []
    at_a_time = f"{load.usual:.1f}".removesuffix(".0")
    if not load.is_known:
        return [
            f"upper bound: {at_a_time} requests at a time, and hardly any alone; what one takes alone is not seen. "
            "Run again with one thread: helm-run -n 1"
        ]
    slower = load.usual**load.exponent
    return [f"{at_a_time} requests at a time took {slower:.1f} times as long as one alone; that is taken out"]


def _thinned(log: ServiceLog) -> tuple[ServiceLog, list[str]]:
    if len(log) <= MAX_REQUESTS:
        return log, []
    places = np.linspace(0, len(log) - 1, MAX_REQUESTS).round().astype(np.int64)
    return log.where(places), [f"fitted to an even thinning, {MAX_REQUESTS} of {len(log)} requests"]


def _at_last_level(log: ServiceLog, periods: Sequence[Period]) -> ServiceLog:
    """Return the log with seconds scaled to the level of the last period."""
    factor = np.repeat([p.level / periods[-1].level for p in periods], [p.num_requests for p in periods])
    return replace(log, seconds=log.seconds / factor, ttft_s=log.ttft_s / factor)


def total_s(coefficients: RuntimeCoefficients, prompt_tokens: ArrayLike, output_tokens: ArrayLike) -> Interval:
    """Return the total predicted seconds of a set of requests.

    Prediction errors are treated as fully correlated, so interval ends add up.
    """
    prediction = coefficients.predict(prompt_tokens, output_tokens)
    sums = (np.asarray(each.sum()) for each in (prediction.seconds, prediction.low_s, prediction.high_s))
    return Interval(*sums)


def provider_factor(denoised: Interval, idealized: Interval) -> Interval:
    """Return the denoised ÷ idealized seconds of the same requests.

    The ratio measures what the provider's optimisation is worth: below 1 if it is worth much. The errors of the two
    are independent, so their logarithms are added in squares.
    """
    value = denoised.value / idealized.value
    factor = np.exp(np.hypot(np.log(denoised.high / denoised.value), np.log(idealized.high / idealized.value)))
    return Interval(value, value / factor, value * factor)


def _usual_output_tokens(log: ServiceLog) -> float:
    lengths, counts = np.unique(log.output_tokens, return_counts=True)
    return float(lengths[counts.argmax()])


def _knots(log: ServiceLog) -> tuple[int, ...]:
    """Return each prompt length if they form a grid; otherwise a few quantiles of the lengths."""
    lengths, counts = np.unique(log.prompt_tokens, return_counts=True)
    if not (len(lengths) <= _MAX_GRID_LENGTHS and counts.min() >= _MIN_PER_GRID_LENGTH):
        num_knots = int(np.clip(len(log) // _MIN_PER_KNOT, 2, _MAX_KNOTS))
        lengths = np.unique(np.quantile(log.prompt_tokens, np.linspace(0.0, 1.0, num_knots)).round())
    return tuple(int(length) for length in lengths)


def _entries(log: ServiceLog, shape: RequestShape) -> tuple[ServiceLog, IntArray]:
    """Return the entries to fit, and the index of each entry's request in the log."""
    return log.with_first_tokens() if shape.has_decode else (log, np.arange(len(log)))


def _likeliest(log: ServiceLog, shape: RequestShape, *, may_have_context: bool) -> tuple[RequestShape, Envelope]:
    """Return the shape and its envelope; with a context term if that makes the requests clearly likelier."""
    entries, _ = _entries(log, shape)
    tried = [shape]
    if may_have_context and shape.has_prefill and shape.has_decode:
        tried.append(replace(shape, has_context=True))
    fits = [fit_envelope(each.design(entries.prompt_tokens, entries.output_tokens), entries.seconds) for each in tried]
    is_clearer = fits[-1].log_likelihood > fits[0].log_likelihood + _MIN_LIKELIER
    return (tried[-1], fits[-1]) if is_clearer else (shape, fits[0])


def _fit(log: ServiceLog, shape: RequestShape, envelope: Envelope, load: OwnLoad | None) -> ServiceFit:
    blocks = log.blocks()
    entries, source = _entries(log, shape)
    design = shape.design(entries.prompt_tokens, entries.output_tokens)
    alternatives = [
        *(fit_envelope(design, entries.seconds, wait_scales=WAIT_SCALES * factor) for factor in _WAIT_SCALE_FACTORS),
        fit_envelope(design, entries.seconds, start=replace(envelope, min_uncontended_share=_FEWER_UNCONTENDED)),
        *(fit_envelope(design, seconds, start=envelope) for seconds in _under_other_loads(entries, load)),
    ]
    freedom = max(int(blocks.max()) + 1 - design.shape[1], 1)
    return ServiceFit(
        shape,
        envelope,
        covariance(envelope, design, entries.seconds, blocks[source]),
        np.array([alternative.coefficients for alternative in alternatives]),
        spread_factor=float(stdtrit(freedom, 0.95)),
        domain=_domain(log),
    )


def _may_be_faster(log: ServiceLog, service: ServiceFit) -> bool:
    """Return True if a faster service, with fewer uncontended requests than are needed, is as likely."""
    if not service.envelope.is_determined:
        return True
    if service.envelope.shares[0] > _MOSTLY_UNCONTENDED:
        return False
    entries, _ = _entries(log, service.shape)
    design = service.shape.design(entries.prompt_tokens, entries.output_tokens)
    other = fit_envelope(design, entries.seconds, min_uncontended_share=_FEWER_UNCONTENDED)
    is_as_likely = other.log_likelihood >= service.envelope.log_likelihood
    return is_as_likely and float(other.shares[0]) < MIN_UNCONTENDED_SHARE


def _under_other_loads(log: ServiceLog, load: OwnLoad | None) -> list[FloatArray]:
    """Return the seconds of the log for both ends of the interval of the load's exponent."""
    if load is None or not load.is_known:
        return []
    in_flight = np.where(np.isfinite(log.in_flight), log.in_flight, load.usual)
    return [log.seconds * in_flight ** (load.exponent - other) for other in (load.low, load.high)]


def _domain(log: ServiceLog) -> Domain:
    p, o = log.prompt_tokens, log.output_tokens
    first = 1 if np.isfinite(log.ttft_s).any() else int(o.min())
    return Domain(int(p.min()), int(p.max()), first, int(o.max()))


def _notes(service: ServiceFit, log: ServiceLog) -> list[str]:
    notes = []
    p, o = log.prompt_tokens, log.output_tokens
    if not service.shape.has_decode:
        notes.append(
            f"decode not identified: fitted to the {len(log)} requests with {int(o[0])} output tokens; "
            "probe several output lengths"
        )
    if not service.shape.has_prefill:
        notes.append(
            f"prefill not told apart from overhead: prompts of {int(p.min())} to {int(p.max())} tokens; "
            "probe a wider range of prompt lengths"
        )
    if service.is_upper_bound:
        notes.append("most requests look contended, or may be: the denoised runtime is an upper bound")
    return notes


def paper_minimum(log: ServiceLog, deployment: str) -> Fit:
    """Fit with the paper's estimator: the minimum over the trials of each (prompt, output) cell, then its fit of 2023.

    Args:
        log: Several trials of each cell, among them cells of one output token.
        deployment: Deployment that the requests went to.

    Raises:
        InsufficientMeasurementsError: The log has no cells of one output token, or no other output length.

    References:
        Narayanan et al., NeurIPS 2023; stanford-crfm/helm-efficiency, fit_runtimes.ipynb and fit_runtimes.py.
    """
    cells: dict[tuple[int, int], float] = {}
    for p, o, seconds in zip(log.prompt_tokens, log.output_tokens, log.seconds, strict=True):
        cell = (int(p), int(o))
        cells[cell] = min(seconds, cells.get(cell, np.inf))
    measurements = tuple(Measurement(p, o, float(seconds)) for (p, o), seconds in sorted(cells.items()))
    fit = fit_profile(Profile(deployment, service_stack(deployment), measurements), rule=PrefillRule.paper_2023)
    return replace(fit, notes=(*fit.notes, "minimum over trials: lower with every further trial"))
