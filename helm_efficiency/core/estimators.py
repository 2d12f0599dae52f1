"""The estimators of Narayanan et al., NeurIPS 2023, by name, and HELM's reading of their tables.

    request_s(p, o) = prefill_s(p) + decode_s_per_token * (o - 1)

The authors' code (stanford-crfm/helm-efficiency, notebooks/fit_runtimes.py) has two estimators, both rounded to 1 ms:

- `paper-2023`: prefill is what one output token took, and decode the slope of one line through (o - 1, what came on
  top) of all prompt lengths. Printed in the notebooks.
- `paper-2022`: prefill is slope plus intercept of a line in o, for each prompt length, and at least that of the
  shortest prompt. The tables that ship with HELM were made by it.

`helm` is the first without the rounding. All three are read as HELM reads its tables: between knots, the next larger
one scaled by p / knot.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from helm_efficiency.core.fitting import Fit
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.runtime_model import Domain, FloatArray, RuntimeCoefficients
from helm_efficiency.errors import InsufficientMeasurementsError

_DECIMALS = 3
_INTERVAL = 0.9


class DecodeLine(NamedTuple):
    """The pooled line that decode is the slope of, and what the notebooks print of it.

    Attributes:
        decode_s_per_token: Slope, unrounded.
        r_squared: Of the line with its intercept.
        mean_squared_error_s2: Of the table, whose line has no intercept.
        max_squared_error_s2: Likewise.
    """

    decode_s_per_token: float
    r_squared: float
    mean_squared_error_s2: float
    max_squared_error_s2: float


def paper_2022(profile: Profile) -> Fit:
    """The table as HELM ships it.

    Args:
        profile: At least two output lengths for each prompt length, in batches of one.

    Raises:
        InsufficientMeasurementsError: A prompt length has fewer.
    """
    cells = _cells(profile)
    prefill_s = {}
    for p in sorted({p for p, _ in cells}):
        outputs = np.array([o for q, o in cells if q == p], dtype=np.float64)
        if len(outputs) < 2:
            raise _missing(profile, f"paper-2022 needs two output lengths for {p} prompt tokens")
        slope, intercept = np.polyfit(outputs, [cells[p, int(o)] for o in outputs], 1)
        prefill_s[p] = round(round(float(slope), _DECIMALS) + round(float(intercept), _DECIMALS), _DECIMALS)
    shortest = prefill_s[min(prefill_s)]
    return _fit(profile, "paper-2022", {p: max(seconds, shortest) for p, seconds in prefill_s.items()}, _DECIMALS)


def paper_2023(profile: Profile) -> Fit:
    """The table as the authors' notebooks print it.

    Args:
        profile: One output token for each prompt length, and more for one at least; in batches of one.

    Raises:
        InsufficientMeasurementsError: One is missing.
    """
    return _fit(profile, "paper-2023", _one_token_s(profile, _DECIMALS), _DECIMALS)


def helm(profile: Profile) -> Fit:
    """What `paper_2023` rounds, for a comparison of HELM's rule that owes nothing to the rounding.

    Raises:
        InsufficientMeasurementsError: As `paper_2023`.
    """
    return _fit(profile, "helm", _one_token_s(profile, None), None)


ESTIMATORS: Mapping[str, Callable[[Profile], Fit]] = {"helm": helm, "paper-2022": paper_2022, "paper-2023": paper_2023}
"""By the name of the rule."""


def decode_line(cells: Mapping[tuple[int, int], float], prefill_s: Mapping[int, float]) -> DecodeLine:
    """One line through all prompt lengths.

    Args:
        cells: Seconds by (prompt_tokens, output_tokens).
        prefill_s: Seconds by prompt_tokens.
    """
    steps = np.array([o - 1 for _, o in cells], dtype=np.float64)
    on_top = np.array([seconds - prefill_s[p] for (p, _), seconds in cells.items()])
    slope, intercept = np.polyfit(steps, on_top, 1)
    r_squared = 1.0 - _squares(on_top - slope * steps - intercept).sum() / _squares(on_top - on_top.mean()).sum()
    errors = _squares(on_top - round(float(slope), _DECIMALS) * steps)
    return DecodeLine(float(slope), float(r_squared), float(errors.mean()), float(errors.max()))


def _fit(profile: Profile, rule: str, prefill_s: Mapping[int, float], decimals: int | None) -> Fit:
    cells = _cells(profile)
    line = decode_line(cells, prefill_s)
    decode_s = line.decode_s_per_token if decimals is None else round(line.decode_s_per_token, decimals)
    prompts, outputs = (np.array(tokens) for tokens in zip(*cells, strict=True))
    domain = Domain(int(prompts.min()), int(prompts.max()), int(outputs.min()), int(outputs.max()))
    coefficients = RuntimeCoefficients(rule, tuple(sorted(prefill_s.items())), decode_s, domain)
    errors = np.abs(coefficients.predict(prompts, outputs).seconds / np.array(list(cells.values())) - 1.0)
    return Fit(
        profile.deployment,
        profile.stack,
        replace(coefficients, relative_error=float(np.quantile(errors, _INTERVAL))),
        profile_sha256=profile.sha256(),
        notes=(
            f"R² of the pooled line {line.r_squared:.3f}, mean squared error {line.mean_squared_error_s2:.4f} s², "
            f"largest {line.max_squared_error_s2:.4f} s²",
            "the interval is that of the measured cells, not of prompt lengths between them",
        ),
        source=profile.source,
    )


def _cells(profile: Profile) -> dict[tuple[int, int], float]:
    """Mean seconds by (prompt_tokens, output_tokens), alone in their batch."""
    cells = {(p, o): float(np.mean([m.seconds for m in ms])) for (p, o, b), ms in profile.cells().items() if b == 1}
    if len({o for _, o in cells}) < 2:
        raise _missing(profile, "decode needs at least two output lengths in batches of one")
    return cells


def _one_token_s(profile: Profile, decimals: int | None) -> dict[int, float]:
    cells = _cells(profile)
    missing = sorted({p for p, _ in cells if (p, 1) not in cells})
    if missing:
        raise _missing(profile, f"prefill is read off one output token, which {missing} prompt tokens lack")
    one = {p: seconds for (p, o), seconds in cells.items() if o == 1}
    return one if decimals is None else {p: round(seconds, decimals) for p, seconds in one.items()}


def _missing(profile: Profile, what: str) -> InsufficientMeasurementsError:
    return InsufficientMeasurementsError(f"{profile.deployment} on {profile.stack.name}: {what}. Measure them.")


def _squares(values: FloatArray) -> FloatArray:
    return np.square(values)
