"""Larger batches: a prefill factor and a decode time for each batch size, relative to the smallest one measured.

A batch of b prompts of p tokens prefills like one prompt of b * p tokens, or like b prompts one after another if that
is faster, times a factor fitted to the data. Its rows share a decode step, which takes longer the more rows there are.
"""

from collections.abc import Mapping

import numpy as np

from helm_efficiency.core.fitting.additive_model import AdditiveFit, Cells, context_tokens
from helm_efficiency.core.runtime_model import RuntimeCoefficients

_ITERATIONS = 50  # steps of reweighting, without early stopping: two unknowns settle long before
_LOSS_SCALE = 0.01  # relative residual at which squares turn linear: cells further off count little


def fit_batches(
    by_batch: Mapping[int, Cells], additive: AdditiveFit, base: RuntimeCoefficients
) -> tuple[tuple[int, float, float], ...]:
    """Return (batch size, prefill factor, decode seconds per token) of each batch size; empty for one batch size alone.

    Args:
        by_batch: Cells of each batch size; `additive` and `base` were fitted to the first.
        additive: Fit of the smallest batch size.
        base: Coefficients of the smallest batch size, with its knots in tokens of the whole batch.
    """
    if len(by_batch) == 1:
        return ()
    first, *others = by_batch
    knots = [(first, 1.0, additive.decode_s_per_token)]
    knots += [(batch, *_fit_batch(batch, by_batch[batch], base)) for batch in others]
    return tuple(knots)


def _fit_batch(batch: int, cells: Cells, base: RuntimeCoefficients) -> tuple[float, float]:
    """Fit by relative least squares with a soft-L1 loss; without a second output length the factor stays 1."""
    p, o = np.array(list(cells), dtype=np.float64).T
    seconds = np.array(list(cells.values()))
    context = base.decode_s_per_context_token * batch * context_tokens(p, o)
    design = np.stack([base.batched_prefill_s(p, batch), o - 1.0], axis=1)
    target = seconds - context
    if len(set(o.tolist())) == 1:
        if o[0] == 1:
            return float(np.median(target / design[:, 0])), base.decode_s_per_token
        return 1.0, max(float(np.median((target - design[:, 0]) / design[:, 1])), 0.0)
    weight = np.ones(len(seconds))
    for _ in range(_ITERATIONS):
        root = np.sqrt(weight) / seconds
        solution = np.linalg.lstsq(design * root[:, None], target * root, rcond=None)[0]
        weight = (1.0 + ((target - design @ solution) / (_LOSS_SCALE * seconds)) ** 2) ** -0.5
    return max(float(solution[0]), 0.0), max(float(solution[1]), 0.0)
