"""Predict the runtime of an unmeasured model on a stack from the models that were measured there.

The formula is in `core.transfer.terms`. Its terms have priors; a profile updates the terms that it identifies and
leaves the others at their prior, with the prior's uncertainty. The deviation of a model from the formula is learned
from models that are left out in turn, as random effects of the model: on its prefill, on prefill along the prompt
length, and on its decode. Both together make the interval of a *new* model, which pooled residuals would understate.

Without any profile the same formula with its priors is the roofline tier.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from helm_efficiency.core.arrays import FloatArray
from helm_efficiency.core.fitting.fit import Fit
from helm_efficiency.core.measurement import Measurement, Profile, Stack
from helm_efficiency.core.runtime_model import Domain, Prediction, RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.core.transfer.calibration import (
    Calibration,
    Effects,
    Observed,
    architecture_of,
    calibrate,
    correlation,
    model_effects,
    observe,
    sensitivity,
)
from helm_efficiency.core.transfer.prior import RuntimePrior
from helm_efficiency.core.transfer.roofline import AcceleratorSpec, speed_of_light, weight_bytes
from helm_efficiency.core.transfer.terms import TERM_NAMES, Terms, pass_s, prefill_s, priors
from helm_efficiency.core.transfer.workload import PassWork, pass_work
from helm_efficiency.errors import InputError

_FEWEST_DEGREES_OF_FREEDOM = 4  # weight of the priors of the effects, in models

_BATCH_SIZES = (1, 2, 4, 8, 16, 32, 64)
_BATCHED_PROMPT_TOKENS = 256

_NOVELTY_LOG_SD = {
    "experts": 0.2,
    "latent attention": 0.2,
    "grouped queries": 0.05,
    "a gated feed-forward network": 0.05,
}
"""Added log deviation for a model with a trait that the profiled models lack: a judgement, without any measurement."""


_SPLIT_LOG_SD = 0.1
"""Added log deviation for each doubling of the ways in which a model is split, beyond the profiled ones: engines differ
most in how they synchronise. Chosen, like the prior of the all-reduces, so that predictions from datasheets nearly
cover Splitwise's table."""


class Parallel(NamedTuple):
    """Division of a model over accelerators.

    Attributes:
        tensor: Number of ways in which each layer is split.
        pipeline: Number of stages into which the layers are split.
    """

    tensor: int = 1
    pipeline: int = 1


ALONE = Parallel()


@dataclass(frozen=True)
class TransferModel:
    """Runtime on one stack as a function of the architecture.

    Attributes:
        stack: Accelerator, engine and dtype; its parallel degree is arbitrary.
        spec: Peaks of one accelerator.
        profiled: Deployments on which it was calibrated; empty for the roofline tier.
        tensor_degrees: Tensor-parallel degrees of the profiled deployments.
        traits: Keys of `_NOVELTY_LOG_SD` that the profiled architectures have.
        effects: Deviations of a new model from the formula.
        domain: Union of the measured ranges.
    """

    stack: Stack
    spec: AcceleratorSpec
    profiled: tuple[str, ...]
    tensor_degrees: frozenset[int]
    traits: frozenset[str]
    effects: Effects
    domain: Domain
    _calibration: Calibration

    @property
    def tier(self) -> Tier:
        """Tier of its predictions: `roofline` without any measurement."""
        return Tier.transferred if self.profiled else Tier.roofline

    @property
    def terms(self) -> Terms:
        """The calibrated terms."""
        return self._calibration.terms()

    def prior(self, architecture: Architecture, parallel: Parallel = ALONE, *, batch_size: int = 1) -> RuntimePrior:
        """Return the belief about a model before any of its cells is measured.

        Raises:
            InputError: The model is to be split, but the link of the accelerator is unknown.
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

        slope = sensitivity(self._calibration, log_seconds)
        covariance = slope @ self._calibration.covariance @ slope.T
        covariance[:-1, :-1] += self.effects.prefill**2 + self.effects.prefill_shape**2 * correlation(knots)
        covariance[-1, -1] += self.effects.decode**2
        covariance += sum(_NOVELTY_LOG_SD[trait] ** 2 for trait in _traits(architecture) - self.traits)
        covariance += (_SPLIT_LOG_SD * np.log2(max(parallel.tensor / max(self.tensor_degrees, default=1), 1.0))) ** 2
        floor_s = self._light_s(architecture, stack, knots, 1)
        per_token, per_context_token = self._decode_line(architecture, stack, contexts, step)
        return RuntimePrior(
            prompt_tokens=knots,
            prefill_s=np.maximum(np.exp(log_seconds(self.terms)[:-1]), floor_s),
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
        """Predict the seconds of requests with the nominal 90 % interval of a model that was not measured.

        Raises:
            InputError: The link of the accelerator is unknown, as for `prior`.
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
        """Return coefficients of a model without measurements, or with only a few measured cells.

        Raises:
            InputError: The link of the accelerator is unknown, as for `prior`.
        """
        coefficients = self.prior(architecture, parallel).updated(measurements).coefficients()
        stack = self._stack(parallel)
        tier = Tier.transferred if measurements else self.tier
        return Fit(
            deployment=deployment or architecture.name,
            stack=stack,
            coefficients=replace(coefficients, batch_knots=self._batch_knots(architecture, stack, coefficients)),
            tier=tier,
            notes=self._notes(architecture, parallel, tier=tier, num_measured=len(measurements)),
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
        """Return the seconds of a decode step at an empty context and per context token, never below the possible."""
        seconds = pass_s(step, stack, self.spec, self.terms)
        slope, at_zero = np.polyfit(contexts, seconds, 1)
        slope = max(float(slope), 0.0)
        step_floor_s = self._light_s(architecture, stack, contexts, 2) - self._light_s(architecture, stack, contexts, 1)
        short = float(np.max(step_floor_s - (at_zero + slope * contexts)))
        return float(at_zero) + max(short, 0.0), slope

    def _batch_knots(
        self, architecture: Architecture, stack: Stack, alone: RuntimeCoefficients
    ) -> tuple[tuple[int, float, float], ...]:
        """Return the prefill of a batch relative to one prompt of the same total length, and its decode step."""
        prompt = min(_BATCHED_PROMPT_TOKENS, alone.domain.max_prompt_tokens)
        rows = np.array(_BATCH_SIZES, dtype=np.float64)
        passes = pass_work(architecture, stack, self.spec, new_tokens=prompt, context_tokens=prompt, batch_size=rows)
        as_one = pass_work(architecture, stack, self.spec, new_tokens=prompt * rows, context_tokens=prompt * rows)
        steps = pass_work(architecture, stack, self.spec, new_tokens=1.0, context_tokens=prompt, batch_size=rows)
        first, whole = (prefill_s(work, stack, self.spec, self.terms, prompt * rows) for work in (passes, as_one))
        of_context = alone.decode_s_per_context_token * rows * prompt
        step_s = pass_s(steps, stack, self.spec, self.terms) - of_context
        step_s *= alone.decode_s_per_token / step_s[0]  # its own cells' correction for one row is applied to all
        step_s = np.maximum.accumulate(step_s)
        return tuple(zip(_BATCH_SIZES, (first / whole).tolist(), step_s.tolist(), strict=True))

    def _light_s(
        self, architecture: Architecture, stack: Stack, prompt_tokens: FloatArray, output_tokens: int
    ) -> FloatArray:
        """Return the seconds that bound predictions from below; 0 if the accelerator's figures are guesses."""
        if not self.spec.is_datasheet:
            return np.zeros_like(prompt_tokens)
        return speed_of_light(
            architecture, stack, self.spec, prompt_tokens=prompt_tokens, output_tokens=output_tokens
        ).seconds

    def _notes(
        self, architecture: Architecture, parallel: Parallel, *, tier: Tier, num_measured: int
    ) -> tuple[str, ...]:
        source = f"from {len(self.profiled)} profiled models" if self.profiled else "from the datasheet alone"
        notes = [f"{tier} {source}"]
        if num_measured:
            notes.append(f"sharpened by {num_measured} measured cell{'s' * (num_measured > 1)} of its own")
        if self.profiled and parallel.tensor not in self.tensor_degrees:
            known = ", ".join(map(str, sorted(self.tensor_degrees)))
            notes.append(f"no profiled model was split {parallel.tensor} ways (known: {known})")
        novel = _traits(architecture) - self.traits
        if self.profiled and novel:
            notes.append(f"no profiled model has {' or '.join(sorted(novel))}")
        if architecture.excluded:
            notes.append(f"without its {architecture.excluded}")
        return tuple(notes)


def _prior_knots(max_prompt_tokens: int) -> FloatArray:
    """Return prompt lengths on both sides of every step that tiles may make, coarser beyond the measured range."""
    stairs = [16, 32, *range(64, 1025, 64), *range(1152, 2049, 128), 2560, 3072, 3584, 4096, 6144, 8192, 16384, 32768]
    useful = [stair for stair in stairs if stair < max(16 * max_prompt_tokens, 4096)]
    return np.array(sorted({1, *useful, *(stair + 1 for stair in useful)}), dtype=np.float64)


def _traits(architecture: Architecture) -> frozenset[str]:
    a = architecture
    has = {
        "experts": a.num_experts > 0,
        "latent attention": a.kv_lora_rank > 0,
        "grouped queries": a.num_kv_heads < a.num_heads,
        "a gated feed-forward network": a.gated_ffn,
    }
    return frozenset(trait for trait, there in has.items() if there)


def fit_transfer(profiles: Sequence[Profile], spec: AcceleratorSpec, *, stack: Stack | None = None) -> TransferModel:
    """Calibrate a stack's transfer model on the models that were profiled there.

    Args:
        profiles: Profiles of one stack (by name) at batch size 1, each with its architecture; empty for the roofline
            tier.
        spec: Peaks of one accelerator of that stack.
        stack: Stack of the model; needed only without profiles.

    Raises:
        InputError: The profiles are of several stacks, a profile lacks its architecture, the dtype is unknown, or
            neither profiles nor a stack are given.
    """
    names = sorted({profile.stack.name for profile in profiles})
    if len(names) > 1:
        raise InputError(f"Profiles of several stacks ({', '.join(names)}): a transfer model is of one.")
    stack = stack or (profiles[0].stack if profiles else None)
    if stack is None:
        raise InputError("Without any profile the stack has to be named.")
    weight_bytes(stack.dtype)
    prior = [priors(stack.engine, spec, stack.dtype)[name] for name in TERM_NAMES]
    observed = [observe(profile, spec) for profile in profiles]
    calibration = calibrate(observed, spec, prior)
    return TransferModel(
        stack=stack,
        spec=spec,
        profiled=tuple(profile.deployment for profile in profiles),
        tensor_degrees=frozenset(profile.stack.tensor_parallel for profile in profiles),
        traits=frozenset(trait for profile in profiles for trait in _traits(architecture_of(profile))),
        effects=model_effects(observed, spec, calibration),
        domain=_domain(observed),
        _calibration=calibration,
    )


def _domain(observed: Sequence[Observed]) -> Domain:
    """Return the union of the profiles' ranges; without profiles, up to 4096 prompt and 512 output tokens."""
    if not observed:
        return Domain(1, 4096, 1, 512)
    p = np.concatenate([profile.prompt_tokens for profile in observed])
    o = np.concatenate([profile.output_tokens for profile in observed])
    return Domain(int(p.min()), int(p.max()), int(o.min()), int(o.max()))
