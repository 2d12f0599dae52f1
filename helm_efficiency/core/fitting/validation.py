"""Validate fits: errors and interval coverage on measurements that a fit has not seen.

There are three protocols. Each holds out whole prompt lengths of the smallest batch size and fits to the rest:

- `leave-one-knot-out`: each interior prompt length in turn; the fit may learn from other models' profiles on the stack.
- `few-knots`: fit on HELM's denoised grid, prompts of 1, 256, 512, 1024 and 1536 tokens, of this profile alone.
- `extrapolation`: fit on prompts up to 55 % of the longest, of this profile alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from helm_efficiency.core.fitting.additive_model import AdditiveFit
from helm_efficiency.core.fitting.fit import fit_among, fit_smallest_batch
from helm_efficiency.core.measurement import Profile, cells_by_batch
from helm_efficiency.core.rules import PrefillRule, Protocol
from helm_efficiency.errors import InsufficientMeasurementsError

FEW_KNOTS = (1, 256, 512, 1024, 1536)  # HELM's grid for denoising
_MIN_FEW_KNOTS = 4  # of HELM's five: a profile may lack one
_EXTRAPOLATION_SHARE = 0.55  # the longest prompts, nearly half of the range, are left to the test


class Score(NamedTuple):
    """Errors over held-out requests, as fractions of the measured seconds.

    Attributes:
        deployment: Deployment of the tested fit; `mean` for the mean over deployments.
        stack: Name of the stack.
        protocol: Protocol by which measurements were held out.
        rule: Rule by which prefill was fitted.
        num_requests: Number of held-out cells.
        one_token_error_fraction: Mean absolute error of requests with one output token; NaN without such requests.
        end_to_end_error_fraction: Mean absolute error of all requests.
        coverage_fraction: Share of the requests within the nominal 90 % interval.
        half_width_fraction: Median half-width of the interval, as a fraction of the prediction.
    """

    deployment: str
    stack: str
    protocol: Protocol
    rule: PrefillRule
    num_requests: int
    one_token_error_fraction: float
    end_to_end_error_fraction: float
    coverage_fraction: float
    half_width_fraction: float


def validate(
    profiles: Sequence[Profile],
    *,
    rule: PrefillRule | str = PrefillRule.auto,
    protocols: Sequence[Protocol | str] = tuple(Protocol),
) -> list[Score]:
    """Score every profile under every protocol that it has enough prompt lengths for.

    Args:
        profiles: Profiles of any deployments and stacks.
        rule: Rule by which prefill is fitted, as for `fit_profile`.
        protocols: Protocols to test under.

    Returns:
        Scores by stack, protocol and deployment; the mean over deployments comes last in each protocol.

    Raises:
        InputError: A rule or protocol is unknown.

    Example:
        >>> from helm_efficiency import Measurement, Profile, Stack, validate
        >>> cells = [(p, o) for p in (1, 256, 512, 1024) for o in (1, 33, 65)]
        >>> timed = tuple(Measurement(p, o, seconds=0.01 + 1e-4 * p + 0.02 * (o - 1)) for p, o in cells)
        >>> profile = Profile("me/model", Stack("a100-80gb-vllm-bf16", "a100-80gb"), timed)
        >>> score, mean = validate([profile], rule="linear", protocols=["leave-one-knot-out"])
        >>> score.num_requests, round(score.end_to_end_error_fraction, 6)
        (6, 0.0)
    """
    rule, held_out_by = PrefillRule(rule), tuple(map(Protocol, protocols))
    additive = {(p.stack.name, p.deployment): found for p in profiles if (found := _additive_or_none(p))}
    scores = []
    for stack in sorted({stack for stack, _ in additive}):
        of_stack = [p for p in profiles if p.stack.name == stack and (stack, p.deployment) in additive]
        for protocol in held_out_by:
            rows = []
            for profile in of_stack:
                others = [x for (s, d), x in additive.items() if s == stack and d != profile.deployment]
                rows += _score(profile, protocol, rule, others if protocol is Protocol.leave_one_knot_out else [])
            scores += [*rows, *_mean(rows)]
    return scores


def folds(profile: Profile, protocol: Protocol) -> Iterator[tuple[Profile, Profile]]:
    """Yield pairs of a profile to fit and a profile to test on; nothing for a profile with too few prompt lengths."""
    smallest = min(m.batch_size for m in profile.measurements)
    prompts = sorted({m.prompt_tokens for m in profile.measurements if m.batch_size == smallest})
    if protocol is Protocol.leave_one_knot_out:
        held_out = [{p} for p in prompts[1:-1]]
    elif protocol is Protocol.few_knots:
        kept = set(FEW_KNOTS) & set(prompts)
        held_out = [set(prompts) - kept] if len(kept) >= _MIN_FEW_KNOTS else []
    else:
        held_out = [{p for p in prompts if p > _EXTRAPOLATION_SHARE * prompts[-1]}]
    for out in held_out:
        is_out = [m.prompt_tokens in out and m.batch_size == smallest for m in profile.measurements]
        if any(is_out) and len(out) < len(prompts) - 1:
            test, train = (
                tuple(m for m, its in zip(profile.measurements, is_out, strict=True) if its is wanted)
                for wanted in (True, False)
            )
            yield replace(profile, measurements=train), replace(profile, measurements=test)


def _score(profile: Profile, protocol: Protocol, rule: PrefillRule, others: Sequence[AdditiveFit]) -> list[Score]:
    columns = []
    for train, test in folds(profile, protocol):
        try:
            coefficients = fit_among(train, others, rule=rule).coefficients
        except InsufficientMeasurementsError:
            continue
        for batch, cells in cells_by_batch(test).items():
            prompts, outputs = np.array(list(cells)).T
            measured = np.array(list(cells.values()))
            predicted = coefficients.predict(prompts, outputs, batch_size=batch)
            columns.append(np.stack([outputs, measured, predicted.seconds, predicted.low_s, predicted.high_s]))
    if not columns:
        return []
    outputs, measured, seconds, low, high = np.concatenate(columns, axis=1)
    errors = np.abs(seconds / measured - 1.0)
    one = errors[outputs == 1]
    return [
        Score(
            profile.deployment,
            profile.stack.name,
            protocol,
            rule,
            len(measured),
            float(one.mean()) if len(one) else float("nan"),
            float(errors.mean()),
            float(np.mean((low <= measured) & (measured <= high))),
            float(np.median((high - low) / 2.0 / seconds)),
        )
    ]


def _mean(rows: Sequence[Score]) -> list[Score]:
    if not rows:
        return []
    first = rows[0]
    means: Mapping[str, float] = {
        name: float(np.mean([getattr(row, name) for row in rows]))
        for name in (
            "one_token_error_fraction",
            "end_to_end_error_fraction",
            "coverage_fraction",
            "half_width_fraction",
        )
    }
    total = sum(row.num_requests for row in rows)
    return [Score("mean", first.stack, first.protocol, first.rule, total, **means)]


def _additive_or_none(profile: Profile) -> AdditiveFit | None:
    try:
        return fit_smallest_batch(profile)
    except InsufficientMeasurementsError:
        return None
