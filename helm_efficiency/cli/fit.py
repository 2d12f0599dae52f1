"""fit: fit coefficients to the measurements in the store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import DeploymentFilter, Format, FormatOption, StackFilter, StoreOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.core.rules import PrefillRule
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, PERCENT, SECONDS

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit


_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 1),
    Field("rule", "Prefill rule", None, 3),
    Field("max_prompt_tokens", "Longest prompt", COUNT, 3),
    Field("decode_s_per_token", "Each further token", SECONDS),
    Field("relative_error", "Noise", PERCENT, 2),
    Field("knots", "Knots", COUNT, 9),
    Field("decode_s_per_context_token", "Each token of context", SECONDS, 9),
)


@app.command(rich_help_panel="Measure")
def fit(
    *,
    deployment: DeploymentFilter = None,
    stack: StackFilter = None,
    rule: Annotated[PrefillRule, "How prefill is read; auto lets the data choose."] = PrefillRule.auto,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Fit coefficients to the measurements in the store, one set for each deployment and stack.

    Example: helm-efficiency example && helm-efficiency fit --store example/efficiency.sqlite
    """
    from helm_efficiency.core.fitting.fit_all import fit_profiles
    from helm_efficiency.store import Store

    opened = Store(store, create=False)
    everything = opened.profiles()
    chosen = [p for p in everything if deployment in (None, p.deployment) and stack in (None, p.stack.name)]
    if not chosen:
        asked = " on ".join(filter(None, (deployment, stack)))
        known = ", ".join(sorted({p.deployment for p in everything})) or "none"
        raise InputError(f"{store} has no measurements{asked and f' of {asked}'}. It has those of: {known}.")
    fits, failures = fit_profiles(chosen, rule=rule, known=everything)
    opened.put_all((), fits)
    rows = [_fitted(each) for each in fits]
    emit(rows, format, _FIELDS)
    for text, names in _by_note(fits).items():
        note(f"{names[0]}: {text}" if len(names) == 1 else f"{len(names)} of {len(fits)}: {text}")
    for failure in failures:
        note(failure)
    if failures:
        note("Fewer cells will do where other models were measured on the same stack: helm-efficiency transfer MODEL")
        raise typer.Exit(1)


def _by_note(fits: "Sequence[Fit]") -> dict[str, list[str]]:
    """Group the fits by note, so that a shared note is printed once."""
    found: dict[str, list[str]] = {}
    for each in fits:
        for text in each.notes:
            found.setdefault(text, []).append(f"{each.deployment} on {each.stack.name}")
    return found


def _fitted(fit: "Fit") -> dict[str, Any]:
    coefficients = fit.coefficients
    return {
        "deployment": fit.deployment,
        "stack": fit.stack.name,
        "rule": coefficients.rule,
        "knots": len(coefficients.prefill_knots),
        "max_prompt_tokens": coefficients.domain.max_prompt_tokens,
        "decode_s_per_token": coefficients.decode_s_per_token,
        "decode_s_per_context_token": coefficients.decode_s_per_context_token,
        "relative_error": coefficients.relative_error,
    }
