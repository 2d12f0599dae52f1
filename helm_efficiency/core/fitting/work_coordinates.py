"""Work coordinates: functions of the prompt length in which prefill time is close to a straight line.

Between two measured prompt lengths, time is interpolated linearly, but not in the number of tokens. Matrix
multiplications are done in tiles of tokens, so that time climbs in steps, and a few tokens cost hardly more than one. A
work coordinate measures the work of a prompt. It only needs to be right up to a straight line between neighbouring
knots.
"""

from collections.abc import Callable, Sequence

import numpy as np

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.additive_model import AdditiveFit, monotone

WorkCoordinate = Callable[[FloatArray], FloatArray]

# Chosen on the paper's logs, see `tiled`. Sensitivities as in `additive_model`: percentage points of the held-out error
# at one output token (4.81 %) for 50 % less or more.
TILES = (64, 128, 256)  # rows that GEMM kernels of NVIDIA's libraries work on at a time
_STEP_SHARE = 0.65  # share of the work beyond 256 tokens that grows in steps. +0.1 either way
_SMALL_TOKENS = 256.0  # prompt length up to which time grows concavely: weights are read once for any number of tokens
_FREE_TOKENS = 32.0  # tokens that cost as much as one. +0.2 at 16, less than 0.1 at 48
_SMALL_EXPONENT = 0.6  # exponent of the concave growth. +0.2 at 0.3, +0.3 at 0.9
_SMALL_STEP_SHARE = 0.15  # share of the concave growth in steps. -0.1 at half, +0.1 at one and a half
_SMALL_SLOPE = 0.02  # keeps the work of any two lengths different. Less than 0.01
_MAX_TILES = 64  # number of tiles beyond which steps are finer than any knots


def tokens(prompt_tokens: FloatArray) -> FloatArray:
    """Return the number of tokens itself: the work coordinate of plain linear interpolation."""
    return np.asarray(prompt_tokens, dtype=np.float64)


def tiled(tile: int) -> WorkCoordinate:
    """Return the coordinate of work in tiles of `tile` tokens, with concave growth within the first 256 tokens.

    Beyond 256 tokens, 65 % of the work grows in steps at tile edges and 35 % evenly. Below, 15 % grows in steps and the
    rest as (p - 32)^0.6 from 32 tokens on. These shares are a prior, chosen to predict held-out prompt lengths well
    over the paper's A100 and V100 logs together; nothing in them is specific to either.
    """

    def stepped(p: FloatArray) -> FloatArray:
        return np.asarray(_STEP_SHARE * tile * np.ceil(p / tile) + (1.0 - _STEP_SHARE) * p)

    def work(prompt_tokens: FloatArray) -> FloatArray:
        p = np.asarray(prompt_tokens, dtype=np.float64)
        small = np.minimum(p, _SMALL_TOKENS)
        concave = (np.maximum(small - _FREE_TOKENS, 0.0) / (_SMALL_TOKENS - _FREE_TOKENS)) ** _SMALL_EXPONENT
        smooth = (1.0 - _SMALL_SLOPE) * concave + _SMALL_SLOPE * small / _SMALL_TOKENS
        step = (np.ceil(small / tile) - 1.0) / max(_SMALL_TOKENS / tile - 1.0, 1.0)
        within = _SMALL_TOKENS * (_SMALL_STEP_SHARE * step + (1.0 - _SMALL_STEP_SHARE) * smooth)
        return np.asarray(within + np.maximum(stepped(p) - stepped(np.array(_SMALL_TOKENS)), 0.0))

    return work


def of_curve(prompt_tokens: FloatArray, seconds: FloatArray) -> WorkCoordinate:
    """Return a measured curve as work coordinate: other models' times on the same stack show where its steps are.

    Args:
        prompt_tokens: Prompt lengths, ascending; shape (N,).
        seconds: Prefill seconds, not descending; shape (N,).
    """
    slope = (seconds[-1] - seconds[0]) / (prompt_tokens[-1] - prompt_tokens[0])

    def work(p: FloatArray) -> FloatArray:
        p = np.asarray(p, dtype=np.float64)
        # A small share of plain tokens keeps the coordinate strictly ascending where the curve is flat.
        return np.asarray(np.interp(p, prompt_tokens, seconds) + 1e-3 * max(slope, 1e-12) * p)

    return work


def breakpoints(first: float, last: float, tiles: Sequence[int]) -> FloatArray:
    """Return prompt lengths between which all work coordinates of these tiles are straight, or nearly so."""
    points = [first, last]
    for tile in tiles:
        edges = np.arange(1, min(int(last // tile), _MAX_TILES) + 1) * tile
        points += [*edges, *(edges + 1)]
    points += [_FREE_TOKENS * x for x in (0.25, 0.5, 0.75, 1.0, 1.125, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 7.0)]
    inside = np.unique(np.round(points))
    return np.asarray(inside[(inside >= first) & (inside <= last)], dtype=np.float64)


MIN_OTHERS = 3  # a mean of fewer curves has the steps of single models in it. On the paper's logs 2 and 5 give the same
_DEFAULT_TILE = 128  # rows of most GEMM kernels. At 64 or 256 errors rise by 0.01 points at most, coverage falls 0.8


def stack_work(additive: AdditiveFit, others: Sequence[AdditiveFit]) -> WorkCoordinate | None:
    """Return the geometric mean curve of other models as a work coordinate; None if fewer than three reach as far."""
    first, last = float(additive.prompt_tokens[0]), float(additive.prompt_tokens[-1])
    reaching = [o for o in others if o.prompt_tokens[0] <= first and o.prompt_tokens[-1] >= last]
    if len(reaching) < MIN_OTHERS or last <= first:
        return None
    knots = np.unique(np.concatenate([o.prompt_tokens for o in reaching]))
    points = np.union1d(breakpoints(first, last, TILES), knots[(knots >= first) & (knots <= last)])
    work = tiled(_DEFAULT_TILE)
    logs = [
        np.log(np.interp(work(points), work(o.prompt_tokens), monotone(np.maximum(o.prefill_s, 1e-9))))
        for o in reaching
    ]
    return of_curve(points, np.exp(np.mean(logs, axis=0)))
