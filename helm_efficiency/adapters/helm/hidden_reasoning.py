"""Detect runs with hidden reasoning, for which HELM's count of output tokens is too low.

Most providers bill reasoning tokens but do not send them, and HELM counts what was sent: GPT-5 is then said to have
taken 5.6 s for one token. The catalog knows most models that reason. For the others the request times decide: a service
that answers at once does not take seconds for each token of its answers.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from functools import lru_cache
from statistics import median
from typing import Any

from helm_efficiency.adapters.token_counts import TokenFacts
from helm_efficiency.catalog.reasoning_models import is_reasoning_model

_FEWEST = 20
"""Least number of timed answers; with fewer, one busy minute of the service could be mistaken for reasoning."""

_LONGEST_S = 3.0
_LONGEST_S_PER_TOKEN = 1.0
"""A service is taken to reason if its medians are above both. GPT-5 on MedHELM has 5.6 s and 5.6 s per token; GPT-4o,
Groq and Together have 0.3 to 1.5 s for answers of one token. Half or twice these limits separates them as well."""

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
    return bool(median(seconds / tokens for seconds, tokens in timed) > _LONGEST_S_PER_TOKEN)
