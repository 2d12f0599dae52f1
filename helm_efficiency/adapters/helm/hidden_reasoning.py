"""Detect runs with hidden reasoning, for which HELM's count of output tokens is too low.

Most providers bill reasoning tokens but do not send them, and HELM counts what was sent: GPT-5 is then said to have
taken 5.6 s for one token. The catalog knows most models that reason. For the others, and for those that reason on
request, the request times decide: a service that answers at once does not take seconds for each token of its answers,
nor, if answers are long, seconds that do not depend on their length. Reasoning in proportion to the visible answer
cannot be told from a slow service.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from statistics import median, quantiles
from typing import Any

from helm_efficiency.adapters.token_counts import TokenFacts
from helm_efficiency.catalog.reasoning_models import is_reasoning_model

_FEWEST = 20
"""Least number of timed answers; with fewer, one busy minute of the service could be mistaken for reasoning."""

_LONGEST_S = 3.0
_LONGEST_S_PER_TOKEN = 1.0
"""A service is taken to reason if its medians are above both. GPT-5 on MedHELM has 5.6 s and 5.6 s per token; GPT-4o,
Groq and Together have 0.3 to 1.5 s for answers of one token. Half or twice these limits separates them as well."""

_LONGEST_FIRST_S = 3.0
"""A service is also taken to reason if three quarters of its answers took longer than this besides the time of their
tokens. Of 2,400 simulated services (20 to 200 tokens a second, none or a third of the requests waiting 5 s on average),
0.3 % of those that answer at once come above it, 73 % of those that reason for 5 s and 92 % of those that reason for
10 s. At 2 s these are 0.9 %, 90 % and 94 %, at 5 s 0 %, 14 % and 77 %."""

_LEAST_SPREAD = 1.5
"""Median length of the longer half of the answers ÷ that of the shorter half, from which the time of a token shows."""

_LOCAL_HOSTS = ("huggingface", "simple")
"""Hosts whose HELM clients store every token that the model wrote."""


def hides_reasoning(deployment: str, model: str, states: Sequence[Any], facts: Sequence[TokenFacts]) -> bool:
    """Return whether a deployment reasons without showing it."""
    if deployment.partition("/")[0] in _LOCAL_HOSTS:
        return False
    known = _known(deployment, model, _day(states))
    return _takes_too_long(states, facts) if known is None else known


@lru_cache(maxsize=1000)
def _known(deployment: str, model: str, day: date | None) -> bool | None:
    """Return the catalog's entry for a deployment, else for its model. Cached, as all runs of an archive ask for it."""
    known = is_reasoning_model(deployment, day)
    return is_reasoning_model(model, day) if known is None else known


def _day(states: Sequence[Any]) -> date | None:
    """Return the day of the first request that has one."""
    for state in states:
        if state.result is not None and state.result.request_datetime is not None:
            return datetime.fromtimestamp(state.result.request_datetime, UTC).date()
    return None


def _takes_too_long(states: Sequence[Any], facts: Sequence[TokenFacts]) -> bool:
    timed = [
        (state.result.request_time, its.output_tokens)
        for state, its in zip(states, facts, strict=True)
        if its.output_tokens and state.result.request_time is not None
    ]
    if len(timed) < _FEWEST or median(seconds for seconds, _ in timed) < _LONGEST_S:
        return False
    if median(seconds / tokens for seconds, tokens in timed) > _LONGEST_S_PER_TOKEN:
        return True
    timed.sort(key=lambda each: each[1])
    short, long = timed[: len(timed) // 2], timed[len(timed) // 2 :]
    (short_s, short_tokens), (long_s, long_tokens) = (
        (median(seconds for seconds, _ in half), median(tokens for _, tokens in half)) for half in (short, long)
    )
    if long_tokens < _LEAST_SPREAD * short_tokens:
        return False
    s_per_token = max(long_s - short_s, 0.0) / (long_tokens - short_tokens)
    first_s, *_ = quantiles([seconds - s_per_token * tokens for seconds, tokens in timed], n=4)
    return bool(first_s > _LONGEST_FIRST_S)
