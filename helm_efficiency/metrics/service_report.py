"""Report what `denoise` found about a service: times, coefficients, contention, drift and provider factor."""

import math
from datetime import UTC, datetime
from typing import Any

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.services.contention import KINDS
from helm_efficiency.core.services.denoise import Denoised, provider_factor, service_stack, total_s
from helm_efficiency.core.services.drift import Period
from helm_efficiency.core.services.model import Interval
from helm_efficiency.metrics.services import Service


def service_report(service: Service, denoised: Denoised, idealized: Fit | None) -> dict[str, Any]:
    """Return the report of one service as JSON values; seconds are means over the requests that the model describes.

    Args:
        service: Observed requests.
        denoised: Model fitted to the requests.
        idealized: Coefficients of the same model on a stack, for the provider factor; None to leave the factor out.

    Returns:
        Values by name; an estimate has its value with the low and the high end of a nominal 90 % interval.

    Example:
        >>> from helm_efficiency import denoise, find_services, read_runs, service_report
        >>> runs = read_runs(["benchmark_output/runs"])
        >>> service = find_services(record for run in runs for record in run.records)[0]
        >>> report = service_report(service, denoise(service.log), None)
        >>> report["deployment"], round(report["observed_s"], 2)
        ('groq/llama3-70b-8192', 6.22)
    """
    log, fit, contention = denoised.log, denoised.service, denoised.contention
    mean = Interval(*(total / len(log) for total in fit.total_s(log.prompt_tokens, log.output_tokens)))
    factor = None
    if idealized is not None:
        lengths = (log.prompt_tokens, log.output_tokens)
        factor = provider_factor(fit.total_s(*lengths), total_s(idealized.coefficients, *lengths))
    return {
        "deployment": service.deployment,
        "stack": service_stack(service.deployment).name,
        "num_requests": len(service.log),
        "num_described": len(log),
        "num_set_apart": dict(service.set_apart),
        "observed_s": float(log.seconds.mean()),
        "denoised_s": _interval(mean, is_bound=fit.is_upper_bound),
        "is_upper_bound": fit.is_upper_bound,
        "requests_in_flight": _median(log.in_flight),
        "overhead_s": _interval(fit.overhead_s(), is_bound=fit.is_upper_bound),
        "prefill_s_per_token": _interval(fit.prefill_s_per_token(), is_bound=fit.is_upper_bound),
        "decode_s_per_token": _interval(fit.decode_s_per_token(), is_bound=fit.is_upper_bound),
        "decode_s_per_context_token": _interval(fit.decode_s_per_context_token(), is_bound=fit.is_upper_bound),
        "contended_share": contention.contended_share(),
        "kind_shares": {kind: contention.share(kind) for kind in KINDS},
        "observed_over_denoised": contention.ratio_quantiles(),
        "burstiness": contention.burstiness,
        "provider_factor": _interval(factor, is_bound=fit.is_upper_bound),
        "idealized_stack": None if idealized is None else idealized.stack.name,
        "periods": [_period(period) for period in denoised.periods],
        "weeks": [_period(week) for week in denoised.weeks],
        "notes": list(fit.notes),
    }


def missing_report(service: Service, reason: str) -> dict[str, Any]:
    """Return the report of a service that cannot be denoised."""
    log = service.log
    return {
        "deployment": service.deployment,
        "stack": service_stack(service.deployment).name,
        "num_requests": len(log),
        "num_set_apart": dict(service.set_apart),
        "observed_s": float(log.seconds.mean()) if len(log) else None,
        "notes": [reason],
    }


def flat_row(report: dict[str, Any]) -> dict[str, Any]:
    """Return the main numbers of a report as one row for CSV."""
    return {
        "deployment": report["deployment"],
        "num_requests": report["num_requests"],
        "observed_s": report["observed_s"],
        **_three(report, "denoised_s"),
        "is_upper_bound": report.get("is_upper_bound"),
        "contended_share": report.get("contended_share"),
        **{f"observed_over_denoised_{q}": report.get("observed_over_denoised", {}).get(q) for q in ("p50", "p95")},
        **_three(report, "overhead_s"),
        **_three(report, "prefill_s_per_token"),
        **_three(report, "decode_s_per_token"),
        **_three(report, "decode_s_per_context_token"),
        **_three(report, "provider_factor"),
    }


def _three(report: dict[str, Any], name: str) -> dict[str, float | None]:
    interval = report.get(name) or {}
    return {name: interval.get("value"), f"{name}_low": interval.get("low"), f"{name}_high": interval.get("high")}


def week_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Return one row for each week of a service."""
    return [{"deployment": report["deployment"], **week} for week in report.get("weeks", [])]


def _interval(interval: Interval | None, *, is_bound: bool) -> dict[str, float | None] | None:
    """Return an estimate as JSON values; an upper bound has no lower end."""
    if interval is None:
        return None
    value, low, high = (float(each) for each in interval)
    return {"value": value, "low": None if is_bound else low, "high": high}


def _median(in_flight: FloatArray) -> float | None:
    known = in_flight[np.isfinite(in_flight)]
    return float(np.median(known)) if len(known) else None


def _period(period: Period) -> dict[str, Any]:
    return {
        "begin": _date(period.begin),
        "end": _date(period.end),
        "requests": period.num_requests,
        "level": period.level,
        "low": period.low,
        "high": period.high,
    }


def _date(seconds: float) -> str | None:
    if math.isnan(seconds):
        return None
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
