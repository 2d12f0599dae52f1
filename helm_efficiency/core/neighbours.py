"""What other models' profiles on a stack say about the shape of a prefill curve there.

Steps, dips and the cost of short prompts are much the same for all models on a stack, up to scale. Their geometric mean
curve therefore is a good work coordinate for one more model.
"""

from collections.abc import Sequence

import numpy as np

from helm_efficiency.core.lines import Lines, monotone
from helm_efficiency.core.work import TILES, Work, breakpoints, of_curve, tiled

MIN_OTHERS = 3
_DEFAULT_TILE = 128


def stack_work(lines: Lines, others: Sequence[Lines]) -> Work | None:
    """The geometric mean curve of other models as a work coordinate, or None for fewer than three that reach as far.

    Args:
        lines: Whose knots the coordinate is for.
        others: Fits of other models on the same stack.
    """
    first, last = float(lines.prompt_tokens[0]), float(lines.prompt_tokens[-1])
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
