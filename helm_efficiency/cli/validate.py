"""The command that shows how good the coefficients are: validate."""

import math
from typing import Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, StoreOption, emit
from helm_efficiency.core.rules import PrefillRule, Protocol
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError


@app.command()
def validate(
    *,
    deployment: Annotated[str | None, typer.Option(help="Of this deployment only.")] = None,
    stack: Annotated[str | None, typer.Option(help="On this stack only.")] = None,
    rule: Annotated[
        list[PrefillRule] | None,
        typer.Option(help="How prefill is read; may repeat. By default auto beside HELM's own rule."),
    ] = None,
    protocol: Annotated[
        list[Protocol] | None, typer.Option(help="What is held out; may repeat. By default all.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Errors and interval coverage on measurements that the fit has not seen, for whatever the store holds.

    Holds out prompt lengths: each interior one in turn, all but five, or the longest 45 %. Errors are fractions of what
    was measured, at one output token and over all output lengths; the interval's nominal coverage is 0.9. The mean over
    deployments comes last.

    Example: helm-efficiency validate --store efficiency.sqlite --format json
    """
    from helm_efficiency.core.fitting import validation
    from helm_efficiency.store import Store

    profiles = Store(store, create=False).profiles(stack=stack)
    if deployment and deployment not in {profile.deployment for profile in profiles}:
        known = ", ".join(sorted({profile.deployment for profile in profiles})) or "none"
        raise InputError(f"{store} has no measurements of {deployment}. It has those of: {known}.")
    scores = []
    for each in rule or (PrefillRule.auto, PrefillRule.helm):
        scores += validation.validate(profiles, rule=each, protocols=protocol or tuple(Protocol))
    if deployment:
        scores = [score for score in scores if score.deployment == deployment]
    if not scores:
        raise InputError(f"{store} has no profile with the three prompt lengths that holding one out takes.")
    emit([_row(score._asdict()) for score in scores], format)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
