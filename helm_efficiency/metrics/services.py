"""Collect the observed request times of each service; set apart and count the requests that would mislead."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NamedTuple

import numpy as np

from helm_efficiency.adapters.record import RequestRecord
from helm_efficiency.adapters.token_counts import OUTPUT_DOUBTS
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.services.denoise import Denoised, as_fit, paper_minimum
from helm_efficiency.core.services.log import ServiceLog
from helm_efficiency.core.services.own_load import requests_in_flight
from helm_efficiency.version import __version__

_REQUESTED_TOKENS = re.compile(r"^efficiency_probe:.*\boutput_tokens=(\d+)")

_WHAT_TO_DO = {
    "no token counts": "name HELM's request caches with --cache, where the provider's own counts still are",
    "stopped early": "the model ends its answers; probe shorter ones, as in probe=16+256+1024x1+4+16",
    "no time": "the archive holds no latencies; record them with helm-run, or send new requests",
    "clock set back": "the client's clock was changed meanwhile; run it again with a steady clock",
    "failed": "the service refused or broke off; run it again, more slowly",
}


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """Observed request times of one deployment.

    Attributes:
        deployment: Name of the deployment.
        model: Name of its model.
        log: Requests that show how long the service takes.
        set_apart: Number of other requests, by reason.
    """

    deployment: str
    model: str
    log: ServiceLog
    set_apart: Counter[str]

    def advice(self) -> str:
        """Return the remedy for the most common reason why requests were set apart; empty if nothing helps."""
        for reason, count in self.set_apart.most_common():
            if reason in _WHAT_TO_DO:
                return f"{count} {reason}: {_WHAT_TO_DO[reason]}"
        return ""


class _Timed(NamedTuple):
    """One row of a service log; equal rows are one request that a harness repeated from its cache."""

    prompt_tokens: int
    output_tokens: int
    seconds: float
    requested_at: float
    ttft_s: float


_SECONDS, _REQUESTED_AT = _Timed._fields.index("seconds"), _Timed._fields.index("requested_at")


@dataclass(slots=True)
class _Collected:
    """Requests of one deployment: usable rows with the run in which each came first, all other rows, and counts."""

    model: str
    runs: dict[_Timed, int] = field(default_factory=dict)
    others: set[_Timed] = field(default_factory=set)
    set_apart: Counter[str] = field(default_factory=Counter)


def services(records: Iterable[RequestRecord]) -> list[Service]:
    """Sort the requests of any runs by deployment, in the order of their names.

    A time that a harness repeats from its cache counts once. Requests in a batch, with several completions or with a
    prompt in the provider's prefix cache are set apart: their times are not those of one request computed alone and
    completely.

    Args:
        records: Requests of the runs. They are read once, and only some numbers of each are kept.

    Returns:
        One service for each deployment; requests that would mislead are set apart and counted by reason.

    Example:
        >>> from helm_efficiency import find_services, read_runs
        >>> runs = read_runs(["benchmark_output/runs"])
        >>> [len(service.log) for service in find_services(record for run in runs for record in run.records)]
        [60, 60, 60, 60, 60]
    """
    collected: dict[str, _Collected] = {}
    numbers: dict[tuple[str, str], int] = {}
    for record in records:
        its = collected.setdefault(record.deployment, _Collected(record.model))
        output_tokens = _output_tokens(record)
        reason = _why_apart(record, output_tokens)
        row = _Timed(
            record.prompt_tokens or 0,
            output_tokens or 0,
            record.observed_s or 0.0,
            np.nan if record.requested_at is None else record.requested_at,
            np.nan if record.ttft_s is None else record.ttft_s,
        )
        if reason is None:
            if row in its.runs:
                reason = "repeated from a cache"
            else:
                its.runs[row] = numbers.setdefault((record.suite, record.run), len(numbers))
        if reason is not None:
            its.set_apart[reason] += 1
            its.others.add(row)
    return [Service(name, its.model, _log(its), its.set_apart) for name, its in sorted(collected.items())]


def service_fit(service: Service, denoised: Denoised | None) -> Fit:
    """Return a service model as the store keeps it: under the stack `service-HOST`, with its source and its date.

    Args:
        service: Observed requests.
        denoised: Model fitted to the requests; None for the paper's own estimator, the minimum over trials.

    Returns:
        The fit, for `Store.put_fit`.

    Raises:
        InsufficientMeasurementsError: The minima do not separate decode from prefill.

    Example:
        >>> from helm_efficiency import denoise, find_services, read_runs, service_fit
        >>> runs = read_runs(["benchmark_output/runs"])
        >>> service = find_services(record for run in runs for record in run.records)[0]
        >>> service_fit(service, denoise(service.log)).stack.name
        'service-groq'
    """
    name = service.deployment
    fit = paper_minimum(service.log, name) if denoised is None else as_fit(denoised.service, name)
    return replace(
        fit,
        source=f"latencies of {len(service.log)} recorded requests",
        fitted_on=datetime.now().date().isoformat(),
        versions={"helm-efficiency": __version__},
    )


def _output_tokens(record: RequestRecord) -> int | None:
    """Return the tokens of the answer; None if some or all of them were not counted."""
    return record.output_tokens if OUTPUT_DOUBTS.isdisjoint(record.doubts) else None


def _why_apart(record: RequestRecord, output_tokens: int | None) -> str | None:
    """Return the reason why a request does not show how long its service takes; None if it does."""
    if not record.success:
        return "failed"
    if record.observed_s is None:
        return "no time"
    if record.observed_s <= 0:
        return "clock set back"
    if not record.prompt_tokens or output_tokens is None or "media_not_counted" in record.doubts:
        return "no token counts"
    requested = _REQUESTED_TOKENS.match(record.scenario)
    if output_tokens < (int(requested[1]) if requested else 1):
        return "stopped early"
    if record.num_completions > 1:
        return "several completions"
    if (record.batch_size or 1) > 1:
        return "batched"
    return "prefix cache" if record.cache_read_tokens else None


def _log(its: _Collected) -> ServiceLog:
    """Return the log of the usable requests; those set apart count only as requests in flight at the same time."""
    columns = np.array([*its.runs, *(its.others - its.runs.keys())], dtype=np.float64).reshape(-1, len(_Timed._fields))
    in_flight = requests_in_flight(columns[:, _REQUESTED_AT], columns[:, _SECONDS])[: len(its.runs)]
    p, o, seconds, requested_at, ttft_s = columns[: len(its.runs)].T
    runs = np.array(list(its.runs.values()))
    return ServiceLog.of(p, o, seconds, requested_at=requested_at, run=runs, ttft_s=ttft_s, in_flight=in_flight)
