"""show: list the contents of the store."""

from typing import TYPE_CHECKING, Any

from helm_efficiency.cli import app
from helm_efficiency.cli.options import DeploymentFilter, Format, FormatOption, StackFilter, StoreOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.core.tier import Tier
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT, PERCENT

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile


_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 1),
    Field("tier", "Evidence"),
    Field("rule", "Prefill rule", None, 4),
    Field("measurements", "Measurements", COUNT, 2),
    Field("relative_error", "Noise", PERCENT, 3),
    Field("stale", "To be fitted again", None, 5),
    Field("measured_on", "Measured", None, 6),
    Field("fitted_on", "Fitted", None, 7),
    Field("source", "Source", None, 9),
)


@app.command(rich_help_panel="Manage")
def show(
    *,
    deployment: DeploymentFilter = None,
    stack: StackFilter = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Show what the store holds: deployments, stacks, tiers, rules, errors, dates.

    Example: helm-efficiency example && helm-efficiency show --store example/efficiency.sqlite
    """
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    profiles = {(p.deployment, p.stack.name): p for p in opened.profiles(deployment=deployment, stack=stack)}
    fits = {(f.deployment, f.stack.name): f for f in opened.fits(deployment=deployment, stack=stack)}
    dates = opened.stored_at()
    rows = [_held(profiles.get(key), fits.get(key), dates, key) for key in sorted({*profiles, *fits})]
    emit(rows, format, _FIELDS)
    stale = sum(_is_stale(profile, fits.get(key)) for key, profile in profiles.items())
    if stale:
        note(f"{stale} of them were fitted to other measurements than these: helm-efficiency fit --store {store}")


def _held(
    profile: "Profile | None", fit: "Fit | None", dates: dict[str, dict[tuple[str, str], str]], key: tuple[str, str]
) -> dict[str, Any]:
    known = fit or profile
    assert known is not None
    return {
        "deployment": key[0],
        "stack": key[1],
        "num_accelerators": known.stack.num_accelerators,
        "tier": fit.tier if fit else Tier.none,
        "rule": fit.coefficients.rule if fit else None,
        "relative_error": fit.coefficients.relative_error if fit else None,
        "measurements": len(profile.measurements) if profile else 0,
        "measured_on": (profile.measured_on or None) if profile else None,
        "fitted_on": (fit.fitted_on or None) if fit else None,
        "stored_at": max(dates[table].get(key, "") for table in dates) or None,
        "stale": _is_stale(profile, fit),
        "measurements_sha256": profile.sha256() if profile else (fit.profile_sha256 if fit else None) or None,
        "coefficients_sha256": fit.sha256() if fit else None,
        "source": known.source or (profile.source if profile else "") or None,
    }


def _is_stale(profile: "Profile | None", fit: "Fit | None") -> bool:
    """Return whether coefficients are missing or were fitted to other measurements than those in the store."""
    if profile is None:
        return False
    return fit is None or fit.profile_sha256 != profile.sha256()
