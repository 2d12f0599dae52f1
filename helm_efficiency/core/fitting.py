"""Measurements -> coefficients."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
from scipy.optimize import isotonic_regression

from helm_efficiency.core.measurement import Profile, Stack
from helm_efficiency.core.runtime_model import Domain, RuntimeCoefficients
from helm_efficiency.errors import InputError, InsufficientMeasurementsError


@dataclass(frozen=True, slots=True)
class Fit:
    """Coefficients of one deployment on one stack, with what they were made from.

    Attributes:
        deployment: Whose.
        stack: On what.
        coefficients: The fitted numbers.
        tier: Evidence: `measured`, `shared`, `transferred` or `none`.
        profile_sha256: Hash of the measurements that were fitted.
        notes: What a reader should know: terms left at zero, noisy cells, extrapolation.
        versions: Versions of the software that made the fit, by package.
        source: Where the measurements or the coefficients come from.
        fitted_on: ISO date, empty if unknown.
    """

    deployment: str
    stack: Stack
    coefficients: RuntimeCoefficients
    tier: str = "measured"
    profile_sha256: str = ""
    notes: tuple[str, ...] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    source: str = ""
    fitted_on: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `from_dict` reads them back."""
        return {
            "deployment": self.deployment,
            "stack": asdict(self.stack),
            "coefficients": self.coefficients.to_dict(),
            "tier": self.tier,
            "profile_sha256": self.profile_sha256,
            "notes": list(self.notes),
            "versions": dict(self.versions),
            "source": self.source,
            "fitted_on": self.fitted_on,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises:
            InputError: A value is missing.
        """
        try:
            return cls(
                **{
                    **data,
                    "stack": Stack(**data["stack"]),
                    "coefficients": RuntimeCoefficients.from_dict(data["coefficients"]),
                    "notes": tuple(data["notes"]),
                }
            )
        except (KeyError, TypeError) as error:
            raise InputError(f"Not a fit of this package: {error}.") from error


def fit_profile(profile: Profile, *, rule: str = "auto") -> Fit:
    """Fit coefficients to a profile.

    Args:
        profile: At least two output lengths for one prompt length; seconds.
        rule: How prefill is read between knots.

    Returns:
        Coefficients in seconds, with a nominal 90 % interval from the residuals.

    Raises:
        InsufficientMeasurementsError: Fewer than two output lengths.

    References:
        Narayanan et al., NeurIPS 2023, equations 1 and 2.
    """
    cells = {
        (p, o): float(np.median([m.seconds for m in measurements]))
        for (p, o, batch), measurements in profile.cells().items()
        if batch == 1
    }
    if len({o for _, o in cells}) < 2:
        raise InsufficientMeasurementsError(
            f"{profile.deployment} on {profile.stack.name}: decode needs at least two output lengths, "
            f"given {sorted({o for _, o in cells})}. Measure another, for instance 16."
        )
    prompts = sorted({p for p, _ in cells})
    design = np.zeros((len(cells), len(prompts) + 1))
    seconds = np.array(list(cells.values()))
    for row, (p, o) in enumerate(cells):
        design[row, prompts.index(p)] = 1.0
        design[row, -1] = o - 1
    solution = np.linalg.lstsq(design / seconds[:, None], np.ones(len(cells)), rcond=None)[0]
    knots = isotonic_regression(solution[:-1]).x
    outputs = [o for _, o in cells]
    domain = Domain(prompts[0], prompts[-1], min(outputs), max(outputs))
    coefficients = RuntimeCoefficients(
        "linear", tuple(zip(prompts, knots.tolist(), strict=True)), max(float(solution[-1]), 0.0), domain
    )
    predicted = coefficients.predict([p for p, _ in cells], outputs).seconds
    relative_error = float(np.quantile(np.abs(predicted / seconds - 1.0), 0.9))
    coefficients = RuntimeCoefficients.from_dict({**coefficients.to_dict(), "relative_error": relative_error})
    return Fit(profile.deployment, profile.stack, coefficients, profile_sha256=profile.sha256())
