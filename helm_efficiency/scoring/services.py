"""Records of requests -> what each service was seen to take; all that would mislead is set apart and counted."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from helm_efficiency.core.service_log import ServiceLog
from helm_efficiency.harness.records import RequestRecord

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
    """What one deployment was seen to take.

    Attributes:
        deployment: Its name.
        log: Requests that tell how long the service takes.
        set_apart: How many others there are, by reason.
    """

    deployment: str
    log: ServiceLog
    set_apart: Counter[str]

    def advice(self) -> str:
        """What to do about the commonest reason why requests were set apart; empty if nothing helps."""
        for reason, count in self.set_apart.most_common():
            if reason in _WHAT_TO_DO:
                return f"{count} {reason}: {_WHAT_TO_DO[reason]}"
        return ""


def services(records: Iterable[RequestRecord]) -> list[Service]:
    """Sort the requests of any runs by deployment, in the order of their names.

    A time that a harness repeats from its cache counts once. Times of batches, of several completions at once and of
    prompts that a provider had in its prefix cache are of something else than one request computed alone and afresh.
    """
    usable: dict[str, dict[tuple[object, ...], RequestRecord]] = {}
    set_apart: dict[str, Counter[str]] = {}
    for record in records:
        reason = _why_apart(record)
        kept = usable.setdefault(record.deployment, {})
        reasons = set_apart.setdefault(record.deployment, Counter())
        if reason is None:
            key = (record.prompt_tokens, record.output_tokens, record.observed_s, record.requested_at)
            if kept.setdefault(key, record) is not record:
                reason = "repeated from a cache"
        if reason is not None:
            reasons[reason] += 1
    return [Service(name, _log(list(usable[name].values())), set_apart[name]) for name in sorted(usable)]


def _why_apart(record: RequestRecord) -> str | None:
    """Why a request does not tell how long its service takes; None if it does."""
    if not record.success:
        return "failed"
    if record.observed_s is None:
        return "no time"
    if record.observed_s <= 0:
        return "clock set back"
    if not record.prompt_tokens or record.output_tokens is None or record.doubts:
        return "no token counts"
    requested = _REQUESTED_TOKENS.match(record.scenario)
    if record.output_tokens < (int(requested[1]) if requested else 1):
        return "stopped early"
    if record.num_completions > 1:
        return "several completions"
    if (record.batch_size or 1) > 1:
        return "batched"
    if record.cache_read_tokens:
        return "prefix cache"
    return None


def _log(records: Sequence[RequestRecord]) -> ServiceLog:
    number = {run: i for i, run in enumerate(dict.fromkeys((r.suite, r.run) for r in records))}
    return ServiceLog.of(
        [r.prompt_tokens or 0 for r in records],
        [r.output_tokens or 0 for r in records],
        [r.observed_s or 0.0 for r in records],
        requested_at=[np.nan if r.requested_at is None else r.requested_at for r in records],
        run=[number[r.suite, r.run] for r in records],
        ttft_s=[np.nan if r.ttft_s is None else r.ttft_s for r in records],
    )
