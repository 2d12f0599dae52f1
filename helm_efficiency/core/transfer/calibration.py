"""Calibrate a transfer model: from profiles to the terms of the formula, and to the deviation of a new model from it.

Terms are most probable given their priors and the profiles. A profile's many cells share the model's own misfit, so
they count as a few observations, and cells far off count less (pseudo-Huber). Random effects of a model (on its
prefill, on prefill around a prompt length, on its decode, on a single cell) are then learned from the models left out
in turn: the interval of a *new* model has to cover the differences between models, which pooled residuals understate.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares, minimize

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.measurement import Profile, Stack
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.roofline import AcceleratorSpec
from helm_efficiency.core.transfer.terms import TERM_NAMES, Term, Terms, pass_s, prefill_s
from helm_efficiency.core.transfer.workload import PassWork, pass_work
from helm_efficiency.errors import InputError

_MISFIT = 0.03  # typical relative deviation of a cell from the formula
_CELLS_PER_PROFILE = 5.0  # weight of a profile's many cells, in independent cells
_PREFILL_WEIGHT = 0.3  # share of the cells with one output token in that weight
_CORRELATION_TOKENS = 256.0  # prompt tokens over which the misfit of prefill changes
_EFFECT_MEDIANS = np.array([0.04, 0.04, 0.04, 0.02])
_EFFECT_LOG_SD = 0.7  # a factor of 2 between stacks. Coverage of left-out models 94.1 %, 92.9 at half, 94.4 at 1.5
_GUESSED_HARDWARE = 3.0  # factor of the effects without a datasheet: the formula was made for accelerators with one


class Effects(NamedTuple):
    """Random effects of a model on the logarithm of its seconds, as standard deviations.

    Attributes:
        prefill: Effect on all of its prefill.
        prefill_shape: Effect on prefill around a prompt length.
        decode: Effect on its decode.
        cell: Effect on a single cell.
    """

    prefill: float
    prefill_shape: float
    decode: float
    cell: float


@dataclass(frozen=True)
class Observed:
    """Cells of a profile and the work of the passes in them.

    Attributes:
        stack: Stack on which they were measured.
        prompt_tokens: Prompt tokens of each cell.
        output_tokens: Output tokens of each cell.
        batch_size: Batch size of each cell.
        seconds: Median seconds of each cell.
        prompts: Distinct pairs of (prompt_tokens, batch_size), shape (prompts, 2).
        prompt_of_cell: Index of each cell's pair in `prompts`.
        prefill: Work of the prompts.
        decode: Work of each cell's decode step halfway through its output.
        weights: Weight of each cell.
    """

    stack: Stack
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    batch_size: FloatArray
    seconds: FloatArray
    prompts: FloatArray
    prompt_of_cell: NDArray[np.intp]
    prefill: PassWork
    decode: PassWork
    weights: FloatArray

    @property
    def is_misaligned(self) -> bool:
        """Whether a matrix product has an odd size, which well-made deployments avoid."""
        return any(layer.is_misaligned.any() for layer in self.prefill.layers)

    def parts_s(self, spec: AcceleratorSpec, terms: Terms) -> tuple[FloatArray, FloatArray]:
        """Return the seconds of prefill and of decode of each cell, by the formula."""
        prompts = prefill_s(self.prefill, self.stack, spec, terms, self.prompts.prod(axis=1))
        step = pass_s(self.decode, self.stack, spec, terms)
        return prompts[self.prompt_of_cell], (self.output_tokens - 1.0) * step


def architecture_of(profile: Profile) -> Architecture:
    """Return the architecture of a profile's model.

    Raises:
        InputError: The profile does not state the architecture, or has no measurement.
    """
    if profile.architecture is None or not profile.measurements:
        raise InputError(
            f"The profile of {profile.deployment!r} on {profile.stack.name} has no measurements or does not say which "
            "architecture it is of, so nothing can be transferred from it."
        )
    return profile.architecture


def observe(profile: Profile, spec: AcceleratorSpec) -> Observed:
    """Return the cells of a profile with their work.

    Raises:
        InputError: The profile does not state the architecture, or has no measurement.
    """
    architecture, stack = architecture_of(profile), profile.stack
    cells = profile.cell_seconds()
    p, o, b = np.array(list(cells), dtype=np.float64).T
    prompts, prompt_of_cell = np.unique(np.stack([p, b], axis=1), axis=0, return_inverse=True)
    first = o == 1.0
    weights = np.where(first, _PREFILL_WEIGHT / max(first.sum(), 1), (1.0 - _PREFILL_WEIGHT) / max((~first).sum(), 1))
    lengths, rows = prompts.T
    return Observed(
        stack=stack,
        prompt_tokens=p,
        output_tokens=o,
        batch_size=b,
        seconds=np.array(list(cells.values())),
        prompts=prompts,
        prompt_of_cell=prompt_of_cell,
        prefill=pass_work(architecture, stack, spec, new_tokens=lengths, context_tokens=lengths, batch_size=rows),
        decode=pass_work(architecture, stack, spec, new_tokens=1.0, context_tokens=p + o / 2.0, batch_size=b),
        weights=weights / weights.sum() * min(_CELLS_PER_PROFILE, len(p)),
    )


@dataclass(frozen=True)
class Calibration:
    """Fitted terms: their logarithms relative to the prior medians, and the covariance of these."""

    log_terms: FloatArray
    covariance: FloatArray
    prior: Sequence[Term]

    def terms(self, shift: FloatArray | float = 0.0) -> Terms:
        medians = np.array([term.median for term in self.prior])
        return Terms(*(medians * np.exp(self.log_terms + shift)).tolist())


def calibrate(
    observed: Sequence[Observed], spec: AcceleratorSpec, prior: Sequence[Term], *, start: Calibration | None = None
) -> Calibration:
    """Find the most probable terms given the profiles, with robust (pseudo-Huber) residuals.

    Args:
        observed: Profiles; without any, the result is the prior.
        spec: Peaks of one accelerator.
        prior: Prior of each term, in the order of the terms.
        start: Calibration to begin from, such as the one on one profile more.
    """
    medians = np.array([term.median for term in prior])
    log_sd = np.array([term.log_sd for term in prior])
    highest = np.array([np.log(term.most / term.median) for term in prior])

    def residuals(log_terms: FloatArray) -> FloatArray:
        terms = Terms(*(medians * np.exp(log_terms)).tolist())
        parts = [log_terms / log_sd]
        for profile in observed:
            misfit = np.log(sum(profile.parts_s(spec, terms)) / profile.seconds) / _MISFIT
            robust = np.sign(misfit) * np.sqrt(2.0 * (np.sqrt(1.0 + misfit**2) - 1.0))
            parts.append(np.sqrt(profile.weights) * robust)
        return np.concatenate(parts)

    begin = np.zeros(len(prior)) if start is None else start.log_terms
    begin = np.minimum(begin, highest - 1e-3)
    solution = least_squares(residuals, begin, bounds=(-np.inf, highest), x_scale="jac", ftol=1e-5, max_nfev=50)
    prior_precision = np.diag(log_sd**-2.0)
    data_precision = solution.jac.T @ solution.jac - prior_precision
    num_data = sum(float(profile.weights.sum()) for profile in observed)
    excess = float(np.sum(solution.fun[len(prior) :] ** 2)) / num_data if observed else 1.0
    covariance = np.linalg.inv(prior_precision + data_precision / max(excess, 1.0))
    return Calibration(solution.x, covariance, prior)


def model_effects(observed: Sequence[Observed], spec: AcceleratorSpec, calibration: Calibration) -> Effects:
    """Find the most probable random effects given the residuals of each profile under the terms of all others.

    Profiles with misaligned products are left out: their deviation does not apply to a well-made model.
    """
    aligned = [profile for profile in observed if not profile.is_misaligned]
    medians = _EFFECT_MEDIANS * (1.0 if spec.is_datasheet else _GUESSED_HARDWARE)
    folds = []
    for left_out in aligned:
        rest = [profile for profile in observed if profile is not left_out]
        # a single profile has no others: its own residual is the least deviation to expect of a new model
        others = calibrate(rest, spec, calibration.prior, start=calibration) if rest else calibration
        folds.append(_residual_structure(left_out, spec, others))

    def negative_log_posterior(log_scale: FloatArray) -> float:
        variances = (medians * np.exp(log_scale)) ** 2
        total = float(np.sum((log_scale / _EFFECT_LOG_SD) ** 2)) / 2.0
        for residual, known, parts in folds:
            covariance = known + np.tensordot(variances, parts, axes=1)
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, residual)
            total += float(white @ white) / 2.0 + float(np.log(np.diag(factor)).sum())
        return total

    best = minimize(negative_log_posterior, np.zeros(4), method="L-BFGS-B", bounds=[(-3.0, 3.0)] * 4)
    log_scale = np.maximum(best.x, 0.0) if len(observed) == 1 else best.x
    return Effects(*(medians * np.exp(log_scale)).tolist())


def _residual_structure(
    observed: Observed, spec: AcceleratorSpec, calibration: Calibration
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return log residuals of a profile's shortest and longest requests, their known covariance and each effect's."""
    chosen = np.isin(observed.output_tokens, (observed.output_tokens.min(), observed.output_tokens.max()))
    prefill, decode = (part[chosen] for part in observed.parts_s(spec, calibration.terms()))
    residual = np.log(observed.seconds[chosen] / (prefill + decode))
    slope = sensitivity(calibration, lambda terms: np.log(sum(observed.parts_s(spec, terms)))[chosen])
    share = prefill / (prefill + decode)
    both = np.outer(share, share)
    parts = np.array(
        [
            both,
            both * correlation(observed.prompt_tokens[chosen]),
            np.outer(1.0 - share, 1.0 - share),
            np.eye(len(share)),
        ]
    )
    return residual, slope @ calibration.covariance @ slope.T, parts


def correlation(prompt_tokens: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.abs(prompt_tokens[:, None] - prompt_tokens[None, :]) / _CORRELATION_TOKENS))


def sensitivity(calibration: Calibration, function: Callable[[Terms], FloatArray]) -> FloatArray:
    """Return the derivative of a function of the terms by their logarithms, shape (values, terms)."""
    step = 1e-4
    columns = [
        (function(calibration.terms(shift)) - function(calibration.terms(-shift))) / (2.0 * step)
        for shift in step * np.eye(len(TERM_NAMES))
    ]
    return np.stack(columns, axis=1)
