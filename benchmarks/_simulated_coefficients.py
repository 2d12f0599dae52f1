"""Read runtime coefficients directly off a simulation: its times have no noise, so a few cells determine the form.

prefill_s(p)      at each prompt length
decode_step_s(c)  = decode_s_per_token(b) + decode_s_per_context_token * b * c     at three contexts a batch size
"""

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.profiling.simulated.aiconfigurator import Simulation
from helm_efficiency.profiling.simulated.jobs import BATCH_SIZES, PROMPT_TOKENS

MAX_OUTPUT_TOKENS = 8192
"""Longest output that the coefficients hold for: as long as the longest simulated context of a decode step."""

_CONTEXTS = (128, 2048, MAX_OUTPUT_TOKENS)
"""Contexts at which a decode step is simulated: two give step and slope, the one between them shows the curvature."""

_BATCHED_PROMPT_TOKENS = (128, 1024, 4096)
_LEAST_SHARE = 0.1
"""Least share of a step that does not grow with the context; kernels with times that fall with the context need it."""


def simulated_coefficients(simulation: Simulation) -> RuntimeCoefficients:
    """Return the coefficients of a simulation, before any correction.

    Raises:
        RuntimeError: A kernel has neither a timing nor anything to estimate it from.
    """
    prefill_s = np.array([simulation.prefill_s(p) for p in PROMPT_TOKENS])
    sizes = np.array([1, *BATCH_SIZES])
    steps_s = np.array([[simulation.decode_step_s(c, batch_size=int(b)) for c in _CONTEXTS] for b in sizes])
    tokens = sizes[:, None] * np.array(_CONTEXTS)
    slopes = (steps_s[:, -1] - steps_s[:, 0]) / (tokens[:, -1] - tokens[:, 0])
    per_context_token = max(float(np.median(slopes)), 0.0)
    empty = np.maximum(steps_s - per_context_token * tokens, _LEAST_SHARE * steps_s)
    empty_s = np.exp(np.log(empty).mean(axis=1))
    off = np.abs((empty_s[:, None] + per_context_token * tokens) / steps_s - 1.0)
    knots = tuple(zip(PROMPT_TOKENS, prefill_s.tolist(), strict=True))
    domain = Domain(PROMPT_TOKENS[0], PROMPT_TOKENS[-1], 1, MAX_OUTPUT_TOKENS, BATCH_SIZES[-1])
    linear, quadratic = _tail(prefill_s)
    curve = RuntimeCoefficients(PrefillRule.linear, knots, 0.0, domain)
    factors = _batch_factors(simulation, curve, sizes)
    return RuntimeCoefficients(
        PrefillRule.linear,
        knots,
        float(empty_s[0]),
        domain,
        decode_s_per_context_token=per_context_token,
        relative_error=float(np.quantile(off, 0.9)),
        tail_s_per_token=linear,
        tail_s_per_token_squared=quadratic,
        batch_knots=tuple(zip(sizes.tolist(), factors.tolist(), empty_s.tolist(), strict=True)),
    )


def _batch_factors(simulation: Simulation, curve: RuntimeCoefficients, sizes: FloatArray) -> FloatArray:
    """Return the prefill time of batches of prompts relative to the prediction of the single-prompt curve."""
    p = np.array(_BATCHED_PROMPT_TOKENS)
    together_s = np.array([[simulation.prefill_s(int(n), batch_size=int(b)) for n in p] for b in sizes])
    return np.asarray(np.median(together_s / curve.batched_prefill_s(p[None, :], sizes[:, None]), axis=1))


def _tail(prefill_s: FloatArray) -> tuple[float, float]:
    """Return the linear and the quadratic term of prefill through its last three knots."""
    x, y = np.array(PROMPT_TOKENS[-3:], dtype=np.float64), prefill_s[-3:]
    quadratic, linear, _ = np.polyfit(x, y, 2)
    if quadratic > 0 and linear > 0:
        return float(linear), float(quadratic)
    return float((y[-1] - y[-2]) / (x[-1] - x[-2])), 0.0
