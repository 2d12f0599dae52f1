"""Predict the runtime of a model nobody measured on a stack from the models somebody measured there.

The formula stands in `core.transfer_terms`. Its terms have priors; a profile moves those that it says something about
and leaves the others at their prior, with the prior's uncertainty. How far a model may be off the formula is learned
from the models that are left out in turn, as random effects of the model: on its prefill, on prefill along the prompt
length, and on its decode. Both together make the interval of a *new* model, which pooled residuals would understate.

Without any profile the same formula with its priors is the roofline tier.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares, minimize

from helm_efficiency.core.architecture import Architecture
from helm_efficiency.core.fitting import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.roofline import AcceleratorSpec, speed_of_light, weight_bytes
from helm_efficiency.core.runtime_model import Domain, FloatArray, Prediction
from helm_efficiency.core.runtime_prior import RuntimePrior
from helm_efficiency.core.transfer_terms import TERM_NAMES, Term, Terms, pass_s, prefill_s, priors
from helm_efficiency.core.workload import PassWork, pass_work
from helm_efficiency.errors import InputError

_MISFIT = 0.03  # how far a cell lies off the formula, typically
_CELLS_PER_PROFILE = 5.0  # what a profile's many cells are worth: they share the model's own misfit
_PREFILL_WEIGHT = 0.3  # weight of the cells with one output token
_CORRELATION_TOKENS = 256.0  # over which the misfit of prefill changes
_EFFECT_MEDIANS = np.array([0.04, 0.04, 0.04, 0.02])
_EFFECT_LOG_SD = 0.7
_FEWEST_DEGREES_OF_FREEDOM = 4  # what the priors of the effects are worth, in models


class Parallel(NamedTuple):
    """How a model is spread: ways each layer is split, stages the layers are split into."""

    tensor: int = 1
    pipeline: int = 1


ALONE = Parallel()


class Effects(NamedTuple):
    """Random effects of a model on the logarithm of its seconds, as standard deviations.

    Attributes:
        prefill: On all of its prefill.
        prefill_shape: On prefill around a prompt length.
        decode: On its decode.
        cell: On a single cell.
    """

    prefill: float
    prefill_shape: float
    decode: float
    cell: float


@dataclass(frozen=True)
class _Observed:
    """A profile's cells (batch size 1), and the work of the passes in them."""

    stack: Stack
    prompt_tokens: FloatArray
    output_tokens: FloatArray
    seconds: FloatArray
    knots: FloatArray
    knot_of_cell: np.ndarray[tuple[int], np.dtype[np.int64]]
    contexts: FloatArray
    prefill: PassWork
    decode: PassWork
    weights: FloatArray

    @property
    def is_misaligned(self) -> bool:
        return any(layer.is_misaligned.any() for layer in self.prefill.layers)


def _observe(profile: Profile, spec: AcceleratorSpec) -> _Observed:
    """Cells of a profile with their work."""
    if profile.architecture is None:
        raise InputError(
            f"The profile of {profile.deployment!r} on {profile.stack.name} does not say which architecture it is of, "
            "so nothing can be transferred from it."
        )
    cells = {key: float(np.median([m.seconds for m in ms])) for key, ms in profile.cells().items() if key[2] == 1}
    p, o = (np.array([key[i] for key in cells], dtype=np.float64) for i in (0, 1))
    knots, knot_of_cell = np.unique(p, return_inverse=True)
    contexts = np.linspace(1.0, float((p + o).max()), 6)
    first = o == 1.0
    weights = np.where(first, _PREFILL_WEIGHT / max(first.sum(), 1), (1.0 - _PREFILL_WEIGHT) / max((~first).sum(), 1))
    return _Observed(
        stack=profile.stack,
        prompt_tokens=p,
        output_tokens=o,
        seconds=np.array(list(cells.values())),
        knots=knots,
        knot_of_cell=knot_of_cell,
        contexts=contexts,
        prefill=pass_work(profile.architecture, profile.stack, spec, new_tokens=knots, context_tokens=knots),
        decode=pass_work(profile.architecture, profile.stack, spec, new_tokens=1.0, context_tokens=contexts),
        weights=weights / weights.sum() * min(_CELLS_PER_PROFILE, len(p)),
    )


def _cell_seconds(observed: _Observed, spec: AcceleratorSpec, terms: Terms) -> tuple[FloatArray, FloatArray]:
    """Predicted prefill and decode seconds of the cells of a profile."""
    prefill = prefill_s(observed.prefill, observed.stack, spec, terms, observed.knots)[observed.knot_of_cell]
    steps = pass_s(observed.decode, observed.stack, spec, terms)
    middle = observed.prompt_tokens + observed.output_tokens / 2.0
    return prefill, (observed.output_tokens - 1.0) * np.interp(middle, observed.contexts, steps)


@dataclass(frozen=True)
class _Calibration:
    """Fitted terms: their logarithms relative to the prior medians, and the covariance of these."""

    log_terms: FloatArray
    covariance: FloatArray
    prior: Sequence[Term]

    def terms(self, shift: FloatArray | float = 0.0) -> Terms:
        medians = np.array([term.median for term in self.prior])
        return Terms(*(medians * np.exp(self.log_terms + shift)).tolist())


def _calibrate(observed: Sequence[_Observed], spec: AcceleratorSpec, prior: Sequence[Term]) -> _Calibration:
    """Most probable terms given the profiles, with robust (pseudo-Huber) residuals."""
    medians = np.array([term.median for term in prior])
    log_sd = np.array([term.log_sd for term in prior])
    highest = np.array([np.log(term.most / term.median) for term in prior])

    def residuals(log_terms: FloatArray) -> FloatArray:
        terms = Terms(*(medians * np.exp(log_terms)).tolist())
        parts = [log_terms / log_sd]
        for profile in observed:
            misfit = np.log(sum(_cell_seconds(profile, spec, terms)) / profile.seconds) / _MISFIT
            robust = np.sign(misfit) * np.sqrt(2.0 * (np.sqrt(1.0 + misfit**2) - 1.0))
            parts.append(np.sqrt(profile.weights) * robust)
        return np.concatenate(parts)

    start = np.minimum(np.zeros(len(prior)), highest - 1e-3)
    solution = least_squares(residuals, start, bounds=(-np.inf, highest), x_scale="jac", max_nfev=50)
    return _Calibration(solution.x, np.linalg.inv(solution.jac.T @ solution.jac), prior)


def _effects(observed: Sequence[_Observed], spec: AcceleratorSpec, prior: Sequence[Term]) -> Effects:
    """Random effects, most probable given the residuals of each profile under the terms of all others."""
    aligned = [profile for profile in observed if not profile.is_misaligned]
    if len(observed) < 2:
        return Effects(*_EFFECT_MEDIANS.tolist())
    folds = []
    for left_out in aligned:
        others = _calibrate([profile for profile in observed if profile is not left_out], spec, prior)
        folds.append(_residual_structure(left_out, spec, others))

    def negative_log_posterior(log_scale: FloatArray) -> float:
        variances = (_EFFECT_MEDIANS * np.exp(log_scale)) ** 2
        total = float(np.sum((log_scale / _EFFECT_LOG_SD) ** 2)) / 2.0
        for residual, known, parts in folds:
            covariance = known + np.tensordot(variances, parts, axes=1)
            factor = np.linalg.cholesky(covariance)
            white = np.linalg.solve(factor, residual)
            total += float(white @ white) / 2.0 + float(np.log(np.diag(factor)).sum())
        return total

    best = minimize(negative_log_posterior, np.zeros(4), method="L-BFGS-B", bounds=[(-3.0, 3.0)] * 4)
    return Effects(*(_EFFECT_MEDIANS * np.exp(best.x)).tolist())


def _residual_structure(
    observed: _Observed, spec: AcceleratorSpec, calibration: _Calibration
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Log residuals of a profile's shortest and longest requests, their known covariance and that of each effect."""
    chosen = np.isin(observed.output_tokens, (observed.output_tokens.min(), observed.output_tokens.max()))
    prefill, decode = (part[chosen] for part in _cell_seconds(observed, spec, calibration.terms()))
    residual = np.log(observed.seconds[chosen] / (prefill + decode))
    slope = _sensitivity(calibration, lambda terms: np.log(sum(_cell_seconds(observed, spec, terms)))[chosen])
    share = prefill / (prefill + decode)
    both = np.outer(share, share)
    parts = np.array(
        [
            both,
            both * _correlation(observed.prompt_tokens[chosen]),
            np.outer(1.0 - share, 1.0 - share),
            np.eye(len(share)),
        ]
    )
    return residual, slope @ calibration.covariance @ slope.T, parts


def _correlation(prompt_tokens: FloatArray) -> FloatArray:
    return np.asarray(np.exp(-np.abs(prompt_tokens[:, None] - prompt_tokens[None, :]) / _CORRELATION_TOKENS))


def _sensitivity(calibration: _Calibration, function: Callable[[Terms], FloatArray]) -> FloatArray:
    """Derivative of a function of the terms by their logarithms, shape (values, terms)."""
    step = 1e-4
    columns = [
        (function(calibration.terms(shift)) - function(calibration.terms(-shift))) / (2.0 * step)
        for shift in step * np.eye(len(TERM_NAMES))
    ]
    return np.stack(columns, axis=1)


@dataclass(frozen=True)
class TransferModel:
    """Runtime on one stack as a function of the architecture.

    Attributes:
        stack: Accelerator, engine and dtype; its parallel degree is that of no model in particular.
        spec: Of one accelerator.
        profiled: Deployments that it was calibrated on; empty for the roofline tier.
        tensor_degrees: Their tensor-parallel degrees.
        effects: How far a new model is off the formula.
        domain: Union of what was measured.
    """

    stack: Stack
    spec: AcceleratorSpec
    profiled: tuple[str, ...]
    tensor_degrees: frozenset[int]
    effects: Effects
    domain: Domain
    _calibration: _Calibration

    @property
    def tier(self) -> str:
        """`transferred`, or `roofline` where nothing was measured."""
        return "transferred" if self.profiled else "roofline"

    @property
    def terms(self) -> Terms:
        """The calibrated terms."""
        return self._calibration.terms()

    def prior(
        self, architecture: Architecture, parallel: Parallel = ALONE, *, batch_size: int = 1
    ) -> RuntimePrior:
        """What is believed about a model before any of its cells is measured.

        Args:
            architecture: Of the model.
            parallel: How it is spread.
            batch_size: Rows in each pass.

        Raises:
            InputError: A model is to be split, but the accelerator has no known link.
        """
        stack = self._stack(parallel)
        knots = _prior_knots(self.domain.max_prompt_tokens)
        contexts = np.linspace(1.0, self.domain.max_prompt_tokens + self.domain.max_output_tokens, 8)
        prompt = pass_work(
            architecture, stack, self.spec, new_tokens=knots, context_tokens=knots, batch_size=batch_size
        )
        step = pass_work(architecture, stack, self.spec, new_tokens=1.0, context_tokens=contexts, batch_size=batch_size)

        def log_seconds(terms: Terms) -> FloatArray:
            prefill = prefill_s(prompt, stack, self.spec, terms, knots * batch_size)
            return np.log([*prefill, pass_s(step, stack, self.spec, terms).mean()])

        slope = _sensitivity(self._calibration, log_seconds)
        covariance = slope @ self._calibration.covariance @ slope.T
        covariance[:-1, :-1] += self.effects.prefill**2 + self.effects.prefill_shape**2 * _correlation(knots)
        covariance[-1, -1] += self.effects.decode**2
        light = speed_of_light(architecture, stack, self.spec, prompt_tokens=knots, output_tokens=1)
        per_token, per_context_token = self._decode_line(architecture, stack, contexts, step)
        return RuntimePrior(
            prompt_tokens=knots,
            prefill_s=np.maximum(np.exp(log_seconds(self.terms)[:-1]), light.prefill_s),
            decode_s_per_token=per_token,
            decode_s_per_context_token=per_context_token,
            log_covariance=covariance,
            noise_fraction=self.effects.cell,
            degrees_of_freedom=max(len(self.profiled), _FEWEST_DEGREES_OF_FREEDOM),
            domain=replace(self.domain, max_batch_size=batch_size),
        )

    def predict(
        self,
        architecture: Architecture,
        parallel: Parallel = ALONE,
        *,
        prompt_tokens: ArrayLike,
        output_tokens: ArrayLike,
        batch_size: int = 1,
    ) -> Prediction:
        """Seconds of requests with the nominal 90 % interval of a model that was not measured.

        Raises:
            InputError: As `prior`.
        """
        return self.prior(architecture, parallel, batch_size=batch_size).predict(prompt_tokens, output_tokens)

    def fit(
        self,
        architecture: Architecture,
        parallel: Parallel = ALONE,
        *,
        deployment: str = "",
        measurements: Sequence[Measurement] = (),
    ) -> Fit:
        """Coefficients of a model that was not measured, or of which only a few cells were.

        Args:
            architecture: Of the model.
            parallel: How it is spread.
            deployment: Whose coefficients these are; by default the architecture's name.
            measurements: Cells of the model itself, which sharpen the prediction.

        Raises:
            InputError: As `prior`.
        """
        coefficients = self.prior(architecture, parallel).updated(measurements).with_interval()
        return Fit(
            deployment=deployment or architecture.name,
            stack=self._stack(parallel),
            coefficients=coefficients,
            tier=self.tier,
            notes=self._notes(architecture, parallel, len(measurements)),
        )

    def _stack(self, parallel: Parallel) -> Stack:
        if parallel.tensor > 1 and not self.spec.link_bytes_per_s:
            raise InputError(
                f"{parallel.tensor} accelerators {self.stack.accelerator!r}: the bandwidth of the link between them is "
                "not known. Give link_bytes_per_s."
            )
        return replace(
            self.stack,
            num_accelerators=parallel.tensor * parallel.pipeline,
            tensor_parallel=parallel.tensor,
            pipeline_parallel=parallel.pipeline,
        )

    def _decode_line(
        self, architecture: Architecture, stack: Stack, contexts: FloatArray, step: PassWork
    ) -> tuple[float, float]:
        """Seconds of a decode step at an empty context and for each token of context, nowhere below what is possible."""
        seconds = pass_s(step, stack, self.spec, self.terms)
        slope, at_zero = np.polyfit(contexts, seconds, 1)
        slope = max(float(slope), 0.0)
        one, two = (
            speed_of_light(architecture, stack, self.spec, prompt_tokens=contexts, output_tokens=n) for n in (1, 2)
        )
        short = float(np.max(two.seconds - one.seconds - (at_zero + slope * contexts)))
        return float(at_zero) + max(short, 0.0), slope

    def _notes(self, architecture: Architecture, parallel: Parallel, num_measured: int) -> tuple[str, ...]:
        source = f"from {len(self.profiled)} profiled models" if self.profiled else "from the datasheet alone"
        notes = [f"{self.tier} {source}"]
        if num_measured:
            notes.append(f"sharpened by {num_measured} measured cells of its own")
        if self.profiled and parallel.tensor not in self.tensor_degrees:
            known = ", ".join(map(str, sorted(self.tensor_degrees)))
            notes.append(f"no profiled model was split {parallel.tensor} ways (known: {known})")
        if architecture.excluded:
            notes.append(f"without its {architecture.excluded}")
        return tuple(notes)


def _prior_knots(max_prompt_tokens: int) -> FloatArray:
    """Prompt lengths on both sides of every stair that tiles may make, coarser beyond what was measured."""
    stairs = [16, 32, *range(64, 1025, 64), *range(1152, 2049, 128), 2560, 3072, 3584, 4096, 6144, 8192, 16384, 32768]
    useful = [stair for stair in stairs if stair < 16 * max_prompt_tokens]
    return np.array(sorted({1, *useful, *(stair + 1 for stair in useful)}), dtype=np.float64)


def fit_transfer(profiles: Sequence[Profile], spec: AcceleratorSpec, *, stack: Stack | None = None) -> TransferModel:
    """Calibrate a stack's transfer model on the models that were profiled there.

    Args:
        profiles: Of one stack (by name), each with its architecture; none for the roofline tier. Batch size 1.
        spec: Of one accelerator of that stack.
        stack: Needed where there is no profile.

    Raises:
        InputError: Several stacks, an unknown dtype, a profile without architecture, or neither profile nor stack.
    """
    names = sorted({profile.stack.name for profile in profiles})
    if len(names) > 1:
        raise InputError(f"Profiles of several stacks ({', '.join(names)}): a transfer model is of one.")
    stack = stack or (profiles[0].stack if profiles else None)
    if stack is None:
        raise InputError("Without any profile the stack has to be named.")
    weight_bytes(stack.dtype)
    prior = [priors(stack.engine, spec)[name] for name in TERM_NAMES]
    observed = [_observe(profile, spec) for profile in profiles]
    return TransferModel(
        stack=stack,
        spec=spec,
        profiled=tuple(profile.deployment for profile in profiles),
        tensor_degrees=frozenset(profile.stack.tensor_parallel for profile in profiles),
        effects=_effects(observed, spec, prior),
        domain=_domain(observed),
        _calibration=_calibrate(observed, spec, prior),
    )


def _domain(observed: Sequence[_Observed]) -> Domain:
    """Union of what the profiles cover; without any, requests of up to 4096 prompt and 512 output tokens."""
    if not observed:
        return Domain(1, 4096, 1, 512)
    p = np.concatenate([profile.prompt_tokens for profile in observed])
    o = np.concatenate([profile.output_tokens for profile in observed])
    return Domain(int(p.min()), int(p.max()), int(o.min()), int(o.max()))
