"""Fit coefficients to measurements."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace

import numpy as np

from helm_efficiency.core.fitting.additive_model import AdditiveFit, Cells, fit_additive
from helm_efficiency.core.fitting.batches import fit_batches
from helm_efficiency.core.fitting.correction import corrected
from helm_efficiency.core.fitting.intervals import QUANTILE_90, prefill_half_widths, single_half_width
from helm_efficiency.core.fitting.paper_estimators import fit_paper_2022, fit_paper_2023
from helm_efficiency.core.fitting.prefill_curve import Curve, fit_curve, fit_parametric_curve, fit_tail
from helm_efficiency.core.fitting.work_coordinates import stack_work
from helm_efficiency.core.measurement import Profile, Stack, cells_by_batch
from helm_efficiency.core.notebook import fact_table
from helm_efficiency.core.rules import HELM_RULES, PrefillRule
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import InsufficientMeasurementsError

_NO_DOMAIN = Domain(1, 1, 1, 1)
_NOISY = 0.01  # mean absolute residual: 10 of the paper's 18 logs stay below it
_LEAST_S = 1e-9  # below any request's time, and large enough that ratios to it do not overflow


@dataclass(frozen=True, slots=True, repr=False)
class Fit:
    """Coefficients of one deployment on one stack, with their provenance.

    Attributes:
        deployment: Deployment that the coefficients describe.
        stack: Hardware and software for which they hold.
        coefficients: Fitted coefficients.
        tier: Tier of evidence behind the coefficients; `Tier.meaning` explains each.
        profile_sha256: Hash of the measurements that were fitted.
        notes: Notes for the reader: terms left at zero, noisy cells, extrapolation.
        versions: Versions of the software that made the fit, by package.
        source: Origin of the measurements or of the coefficients.
        fitted_on: ISO date of the fit, empty if unknown.
        is_upper_bound: True if requests may take less than the coefficients say, as for a service never seen alone.
    """

    deployment: str
    stack: Stack
    coefficients: RuntimeCoefficients
    tier: Tier = Tier.measured
    profile_sha256: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    fitted_on: str = ""
    is_upper_bound: bool = False

    def __repr__(self) -> str:
        """Return one line: what was fitted, where, from what evidence, and its decode time."""
        return f"<Fit of {self.deployment} on {self.stack}: {self.tier}, {self._decode_text()}>"

    def _repr_html_(self) -> str:
        """Return the coefficients as an HTML table, for notebooks."""
        (shortest, first_s), (longest, last_s) = (self.coefficients.prefill_knots[at] for at in (0, -1))
        domain = self.coefficients.domain
        facts = {
            "Stack": str(self.stack),
            "Evidence": f"{self.tier}: {self.tier.meaning}",
            "Prefill": f"{1e3 * first_s:.3g} ms of {shortest:,} to {1e3 * last_s:.3g} ms of {longest:,} prompt tokens",
            "Decode": self._decode_text(),
            "Domain": f"up to {domain.max_prompt_tokens:,} prompt and {domain.max_output_tokens:,} output tokens, "
            f"batches of up to {domain.max_batch_size:,}",
            "Source": self.source or "not stated",
        }
        return fact_table(self.deployment, facts, self.notes)

    def _decode_text(self) -> str:
        each = self.coefficients
        return f"{1e3 * each.decode_s_per_token:.3g} ms an output token (± {100 * each.decode_error:.2g} %)"

    def sha256(self) -> str:
        """Return a hash of the whole fit, to trace any number back to the coefficients it was computed with."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def fit_profile(profile: Profile, *, rule: PrefillRule | str = PrefillRule.auto, others: Sequence[Profile] = ()) -> Fit:
    """Fit coefficients to a profile.

    Args:
        profile: Measurements in seconds, with at least two output lengths for one prompt length.
        rule: Rule by which prefill is fitted and read. `auto` lets the data choose how it is read between knots.
        others: Profiles of other models on the same stack, from which `auto` may learn the stack's steps. Profiles of
            the profile's own deployment, and profiles that do not determine prefill, are skipped.

    Returns:
        Coefficients in seconds, with nominal 90 % intervals.

    Raises:
        InputError: The rule is unknown.
        InsufficientMeasurementsError: Decode cannot be separated from prefill; the message says what to measure.

    References:
        Narayanan et al., NeurIPS 2023, equations 1 and 2.

    Example:
        >>> from helm_efficiency import Measurement, Profile, Stack, fit_profile
        >>> cells = [(1, 1), (1, 65), (512, 1), (512, 65), (1024, 1), (1024, 65)]
        >>> timed = tuple(Measurement(p, o, seconds=0.01 + 1e-4 * p + 0.02 * (o - 1)) for p, o in cells)
        >>> fit = fit_profile(Profile("me/model", Stack("a100-80gb-vllm-bf16", "a100-80gb"), timed), rule="linear")
        >>> fit.coefficients.predict([512, 256], [65, 1]).seconds.round(3).tolist()
        [1.341, 0.036]
    """
    neighbours = []
    rule = PrefillRule(rule)
    for other in others if rule is PrefillRule.auto else ():
        if other.deployment != profile.deployment:
            with suppress(InsufficientMeasurementsError):
                neighbours.append(fit_smallest_batch(other))
    return fit_among(profile, neighbours, rule=rule)


def fit_among(profile: Profile, neighbours: Sequence[AdditiveFit], *, rule: PrefillRule = PrefillRule.auto) -> Fit:
    """Fit a profile as `fit_profile` does, given the additive fits of the stack's other models.

    Raises:
        InsufficientMeasurementsError: Decode cannot be separated from prefill; the message says what to measure.
    """
    try:
        by_batch = cells_by_batch(profile)
        with _solvable():
            if rule in HELM_RULES:
                coefficients, notes = _fit_table(next(iter(by_batch.values())), rule)
            else:
                additive = _additive(by_batch, profile)
                coefficients, notes = _fit_curve(additive, rule, neighbours)
                coefficients = replace(coefficients, batch_knots=fit_batches(by_batch, additive, coefficients))
    except InsufficientMeasurementsError as error:
        raise InsufficientMeasurementsError(f"{profile.deployment} on {profile.stack.name}: {error}") from error
    if profile.correction is not None:
        coefficients = corrected(coefficients, profile.correction)
    return Fit(
        profile.deployment,
        profile.stack,
        replace(coefficients, domain=_domain(by_batch), resolution_s=profile.resolution_s),
        tier=profile.tier,
        profile_sha256=profile.sha256(),
        notes=(*profile.notes, *notes) if profile.tier == Tier.simulated else notes,
        versions=profile.versions,
        source=profile.source,
    )


def fit_smallest_batch(profile: Profile) -> AdditiveFit:
    """Fit knots and decode time to a profile's smallest batch size, before any curve is fitted through them.

    Raises:
        InsufficientMeasurementsError: Decode cannot be separated from prefill.
    """
    by_batch = cells_by_batch(profile)
    with _solvable():
        return _additive(by_batch, profile)


def _additive(by_batch: Mapping[int, Cells], profile: Profile) -> AdditiveFit:
    batch, cells = next(iter(by_batch.items()))
    by_tokens = {(p * batch, o): seconds for (p, o), seconds in cells.items()}
    return fit_additive(by_tokens, resolution_s=profile.resolution_s)


@contextmanager
def _solvable() -> Iterator[None]:
    """Turn arithmetic errors into a message: wrong units or several things in one file make unsolvable equations."""
    try:
        with np.errstate(divide="raise", invalid="raise", over="raise"):
            yield
    except (np.linalg.LinAlgError, FloatingPointError) as error:
        raise InsufficientMeasurementsError(
            f"the measurements contradict each other ({error}). Look for wrong units and for rows of something else."
        ) from error


def _fit_curve(
    additive: AdditiveFit, rule: PrefillRule, neighbours: Sequence[AdditiveFit]
) -> tuple[RuntimeCoefficients, tuple[str, ...]]:
    if rule is PrefillRule.parametric:
        curve = fit_parametric_curve(additive)
    else:
        curve = fit_curve(
            additive, rule=rule, stack=stack_work(additive, neighbours) if rule is PrefillRule.auto else None
        )
    linear, quadratic = fit_tail(additive)
    coefficients = RuntimeCoefficients(
        rule,
        tuple(zip(curve.prompt_tokens.astype(int).tolist(), curve.seconds.tolist(), strict=True)),
        additive.decode_s_per_token,
        _NO_DOMAIN,
        decode_s_per_context_token=additive.decode_s_per_context_token,
        relative_error=single_half_width(additive),
        prefill_error_s=tuple(prefill_half_widths(curve, additive).tolist()),
        decode_error=QUANTILE_90 * additive.decode_error,
        tail_s_per_token=linear,
        tail_s_per_token_squared=quadratic,
    )
    return coefficients, _notes(additive, curve, quadratic)


def _notes(additive: AdditiveFit, curve: Curve, quadratic: float) -> tuple[str, ...]:
    notes = ["prefill between knots: " + ", ".join(f"{name} {share:.0%}" for name, share in curve.weights.items())]
    if not additive.decode_s_per_context_token:
        notes.append("decode context term left at zero: the measurements do not identify it")
    if not quadratic:
        notes.append("quadratic prefill term left at zero: the measurements do not identify it")
    if additive.noise > _NOISY:
        notes.append(
            f"noisy: cells stray {additive.noise:.1%} from the model on average; repeat them on a quiet machine"
        )
    return tuple(notes)


def _fit_table(cells: Cells, rule: PrefillRule) -> tuple[RuntimeCoefficients, tuple[str, ...]]:
    """Fit a table like HELM's: `helm` in full precision, the paper's estimators rounded as the authors do."""
    if rule is PrefillRule.paper_2022:
        fit = fit_paper_2022(cells)
    else:
        fit = fit_paper_2023(cells, digits=3 if rule is PrefillRule.paper_2023 else None)
    coefficients = RuntimeCoefficients(rule, tuple(sorted(fit.prefill_s.items())), fit.decode_s_per_token, _NO_DOMAIN)
    prompts, outputs = np.array(list(cells)).T
    predicted_s = np.maximum(coefficients.predict(prompts, outputs).seconds, _LEAST_S)  # a table may say 0
    residuals = np.array(list(cells.values())) / predicted_s - 1.0
    error = float(np.quantile(np.abs(residuals), 0.9))
    return replace(coefficients, relative_error=error), (f"R² of the pooled line {fit.r_squared:.5f}",)


def _domain(by_batch: Mapping[int, Cells]) -> Domain:
    prompts = [p for cells in by_batch.values() for p, _ in cells]
    outputs = [o for cells in by_batch.values() for _, o in cells]
    return Domain(min(prompts), max(prompts), min(outputs), max(outputs), max(by_batch))
