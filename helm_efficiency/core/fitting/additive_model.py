"""Fit a time to the first token for each prompt length, and one time for each further token, at one batch size.

The model is the paper's, with one slope shared by all prompt lengths and a deviation of each prompt length from it:

    request_s(p, o) = prefill_s(p) + (o - 1) * decode_s_per_token * (1 + deviation(p)) + context term

Measurements on shared machines hold outliers of two kinds, single cells and whole prompt lengths, so both the residuals
and the deviations are fitted with a soft-L1 loss: quadratic near zero, linear far out. The fit is convex.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.errors import InsufficientMeasurementsError

Cells = Mapping[tuple[int, int], float]
"""Seconds by (prompt tokens, output tokens)."""

# Sensitivities were measured on eight of the paper's logs (four A100, four V100) with prompt lengths held out as in
# `validation`: the change of the mean absolute error (4.81 % at one output token, 1.93 % over all) and of the coverage
# (90.9 %) in percentage points, if the constant is 50 % lower or higher.
_CELL_NOISE = 0.002  # least scatter of a cell, as clean logs show 0.1 to 0.2 %. Errors: less than 0.01; coverage 0.1
_PROMPT_NOISE = 0.003  # least scatter of slopes between prompt lengths, for the same reason. Less than 0.01; 0.2
_UNKNOWN_NOISE = 0.01  # scatter of a noisy machine, used if too few cells show it. Never reached by these logs
_LOSS_SCALE = 0.5  # standard deviations at which squares turn linear: outliers count little. 0.02; coverage 0.2
_MAD_TO_STD = 1.4826  # of a normal distribution: standard deviation over median absolute deviation
_SLOPE_NOISE = 0.001  # least scatter of slopes in the test of the context term. No effect on these logs
_CONTEXT_T = 4.0  # standard errors: of 18 logs tested none should show growth by chance. Less than 0.01
_CONTEXT_FRACTION = 0.02  # a context term worth less is noise of the clock. At 1 %, errors beyond the data fall by 0.2
_MIN_PROMPTS_FOR_CONTEXT = 4  # a slope over three prompt lengths has one degree of freedom
_ITERATIONS = 200  # a bound: the slowest of the paper's 18 logs takes 59
_TOLERANCE = 1e-5  # relative: far below the scatter of any cell


@dataclass(frozen=True, slots=True)
class AdditiveFit:
    """Prefill and decode times fitted to the cells of one batch size.

    Attributes:
        prompt_tokens: Distinct prompt lengths, ascending; shape (P,).
        prefill_s: Seconds to the first output token at each prompt length; shape (P,).
        decode_s_per_token: Seconds of a further token at an empty context.
        decode_s_per_context_token: Further seconds for each token of context; 0 if the data do not identify it.
        decode_error: Standard error of the decode time, as a fraction.
        residuals: Measured / predicted - 1 of each cell, in the order given; shape (N,).
    """

    prompt_tokens: FloatArray
    prefill_s: FloatArray
    decode_s_per_token: float
    decode_s_per_context_token: float
    decode_error: float
    residuals: FloatArray

    @property
    def noise(self) -> float:
        """Mean absolute residual, as a fraction: the distance of single cells from the additive model."""
        return float(np.mean(np.abs(self.residuals)))


def context_tokens(prompt_tokens: FloatArray, output_tokens: FloatArray) -> FloatArray:
    """Return the sum of the context lengths of all decode steps: p + t summed over t = 1 … o-1."""
    steps = np.maximum(output_tokens - 1.0, 0.0)
    return np.asarray(steps * prompt_tokens + steps * (steps + 1.0) / 2.0)


def fit_additive(cells: Cells, *, resolution_s: float = 0.0) -> AdditiveFit:
    """Fit one line per prompt length, all with one slope, robustly and by relative error.

    The context term is kept if it is at least four standard errors above zero and worth more than 2 % of the decode
    time over the measured contexts; otherwise it is left at zero.

    Raises:
        InsufficientMeasurementsError: No prompt length has two output lengths.
    """
    problem = _Problem.of(cells, resolution_s)
    fitted = problem.solve(with_context=False)
    if problem.context_t() < _CONTEXT_T:
        return fitted
    with_context = problem.solve(with_context=True)
    growth = with_context.decode_s_per_context_token * float(np.ptp(fitted.prompt_tokens))
    return with_context if growth > _CONTEXT_FRACTION * fitted.decode_s_per_token else fitted


@dataclass(frozen=True, slots=True)
class _Problem:
    """Cells as arrays, with robust scales of their noise."""

    prompts: FloatArray
    index: NDArray[np.intp]
    p: FloatArray
    o: FloatArray
    seconds: FloatArray
    slopes: FloatArray
    slope: float
    cell_scale: FloatArray
    prompt_scale: float
    slope_error: float

    @classmethod
    def of(cls, cells: Cells, resolution_s: float) -> "_Problem":
        p, o = np.array(list(cells), dtype=np.float64).T
        seconds = np.array(list(cells.values()), dtype=np.float64)
        prompts, index = np.unique(p, return_inverse=True)
        slopes, residuals = _own_lines(o, seconds, index, len(prompts))
        if not len(slopes):
            raise InsufficientMeasurementsError(
                f"Decode needs two output lengths at one prompt length, given output lengths "
                f"{sorted({int(x) for x in o})}. Measure another, for instance 16."
            )
        slope = float(np.median(slopes))
        cell = max(_spread(residuals), _CELL_NOISE) if len(residuals) else _UNKNOWN_NOISE
        enough = len(slopes) > 2 and slope > 0
        prompt = max(_spread(slopes / slope - 1.0), _PROMPT_NOISE) if enough else _UNKNOWN_NOISE
        cell_scale = np.hypot(cell * _LOSS_SCALE, resolution_s / np.sqrt(12.0) / seconds)
        error = float(np.hypot(prompt, cell if len(residuals) else 0.0) / np.sqrt(len(slopes)))
        return cls(prompts, index, p, o, seconds, slopes, slope, cell_scale, prompt * _LOSS_SCALE, error)

    def solve(self, *, with_context: bool) -> AdditiveFit:
        """Solve by iteratively reweighted least squares; rows are cells, then the deviations of the prompt lengths."""
        design, target = self._system(with_context=with_context)
        unit = np.linalg.norm(design, axis=0)
        design /= unit
        solution: FloatArray = np.zeros(len(unit))
        weight = np.ones(len(target))
        for _ in range(_ITERATIONS):
            before = solution
            weighted = design * weight[:, None]
            solution = np.asarray(np.linalg.solve(design.T @ weighted, target @ weighted), dtype=np.float64)
            if np.allclose(solution, before, rtol=_TOLERANCE, atol=_TOLERANCE * np.abs(solution).max()):
                break
            weight = (1.0 + (design @ solution - target) ** 2) ** -0.5
        solution = solution / unit
        num_prompts = len(self.prompts)
        prefill_s, decode = solution[:num_prompts], max(float(solution[num_prompts]), 0.0)
        context = max(float(solution[-1]), 0.0) if with_context else 0.0
        predicted = prefill_s[self.index] + (self.o - 1.0) * decode + context * context_tokens(self.p, self.o)
        return AdditiveFit(self.prompts, prefill_s, decode, context, self.slope_error, self.seconds / predicted - 1.0)

    def _system(self, *, with_context: bool) -> tuple[FloatArray, FloatArray]:
        """Return the design matrix and the target.

        The unknowns are the prefill of each prompt length, decode, the deviation of each prompt length, and the context
        term.
        """
        num_cells, num_prompts = len(self.p), len(self.prompts)
        design = np.zeros((num_cells + num_prompts, 2 * num_prompts + 1 + with_context))
        rows = np.arange(num_cells)
        design[rows, self.index] = 1.0
        design[rows, num_prompts] = self.o - 1.0
        design[rows, num_prompts + 1 + self.index] = (self.o - 1.0) * self.slope
        if with_context:
            design[rows, -1] = context_tokens(self.p, self.o)
        design[:num_cells] /= (self.cell_scale * self.seconds)[:, None]
        prompts = np.arange(num_prompts)
        design[num_cells + prompts, num_prompts + 1 + prompts] = 1.0 / self.prompt_scale
        return design, np.concatenate([1.0 / self.cell_scale, np.zeros(num_prompts)])

    def context_t(self) -> float:
        """Return the growth of the prompt lengths' own slopes with the prompt, in standard errors; 0 if unknown."""
        if len(self.slopes) < max(len(self.prompts), _MIN_PROMPTS_FOR_CONTEXT):
            return 0.0
        x = self.prompts - self.prompts.mean()
        growth = x @ self.slopes / (x @ x)
        residuals = self.slopes - self.slopes.mean() - growth * x
        variance = residuals @ residuals / (len(x) - 2) + (_SLOPE_NOISE * self.slope) ** 2
        return float(growth * np.sqrt(x @ x / variance))


def _own_lines(o: FloatArray, seconds: FloatArray, index: NDArray[np.intp], num: int) -> tuple[FloatArray, FloatArray]:
    """Return the slope of each prompt length with two output lengths or more, and residuals (fractions) if three."""
    slopes, residuals = [], []
    for i in range(num):
        here = index == i
        steps, s = o[here] - 1.0, seconds[here]
        if len(s) < 2:
            continue
        design = np.stack([np.ones_like(steps), steps], axis=1) / s[:, None]
        line = np.linalg.lstsq(design, np.ones_like(s), rcond=None)[0]
        slopes.append(line[1])
        if len(s) > 2:
            residuals.append((1.0 - design @ line) * np.sqrt(len(s) / (len(s) - 2)))
    return np.array(slopes), np.concatenate(residuals) if residuals else np.empty(0)


def _spread(values: FloatArray) -> float:
    return float(_MAD_TO_STD * np.median(np.abs(values)))


def monotone(values: FloatArray) -> FloatArray:
    """Return the nearest values, by least squares, that never fall."""
    from scipy.optimize import isotonic_regression  # imported here because predictions do not need it

    return np.asarray(isotonic_regression(values).x, dtype=np.float64)
