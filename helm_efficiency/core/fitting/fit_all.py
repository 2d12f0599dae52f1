"""Fit coefficients to every measured profile, and record the software versions and the date of the fits."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from typing import NamedTuple

from helm_efficiency.core.fitting.fit import Fit, fit_among, fit_smallest_batch
from helm_efficiency.core.measurement import Profile
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.errors import InputError, InsufficientMeasurementsError
from helm_efficiency.version import __version__


class Fits(NamedTuple):
    """Result of fitting profiles.

    Attributes:
        fits: Successful fits, in the order of their profiles.
        failures: Reasons why the other profiles have no fit, one line each.
    """

    fits: tuple[Fit, ...]
    failures: tuple[str, ...]


def fit_profiles(
    profiles: Sequence[Profile], *, rule: PrefillRule | str = PrefillRule.auto, known: Sequence[Profile] = ()
) -> Fits:
    """Fit coefficients to profiles, each of which may learn from the others of its stack.

    Args:
        profiles: Measurements in seconds, of any deployments and stacks.
        rule: Rule by which prefill is fitted and read. `auto` lets the data choose how it is read between knots, and
            learns from all measurements on the same stack.
        known: Further profiles to learn from, which are not fitted themselves.

    Returns:
        Fits with the versions of the software that made them and today's date; profiles with measurements that do not
        determine coefficients are named among the failures.

    Raises:
        InputError: The rule is unknown.

    Example:
        >>> from helm_efficiency import Measurement, Profile, Stack, fit_profiles
        >>> stack = Stack("a100-80gb-vllm-bf16", "a100-80gb")
        >>> cells = [(1, 1), (1, 65), (512, 1), (512, 65), (1024, 1), (1024, 65)]
        >>> timed = tuple(Measurement(p, o, seconds=0.01 + 1e-4 * p + 0.02 * (o - 1)) for p, o in cells)
        >>> (fit,), failures = fit_profiles([Profile("me/model", stack, timed)], rule="linear")
        >>> round(fit.coefficients.decode_s_per_token, 6), failures
        (0.02, ())
    """
    rule = PrefillRule(rule)
    versions = {"helm-efficiency": __version__} | {name: version(name) for name in ("numpy", "scipy")}
    today = datetime.now().date().isoformat()
    stacks = {profile.stack.name for profile in profiles} if rule is PrefillRule.auto else set()
    teachers = {(p.stack.name, p.deployment): p for p in (*known, *profiles) if p.stack.name in stacks}
    additive = {}
    for key, teacher in teachers.items():
        with suppress(InsufficientMeasurementsError):
            additive[key] = fit_smallest_batch(teacher)
    fits, failures = [], []
    for profile in profiles:
        others = [x for (s, d), x in additive.items() if s == profile.stack.name and d != profile.deployment]
        try:
            fit = fit_among(profile, others, rule=rule)
        except InsufficientMeasurementsError as error:
            failures.append(str(error))
            continue
        except InputError as error:
            failures.append(f"{profile.deployment} on {profile.stack.name}: {error}")
            continue
        fits.append(replace(fit, versions={**profile.versions, **versions}, source=profile.source, fitted_on=today))
    return Fits(tuple(fits), tuple(failures))
