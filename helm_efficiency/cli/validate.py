"""The command that shows how good the coefficients are: validate."""

import math
from typing import Annotated, Any

from helm_efficiency.cli import app
from helm_efficiency.cli.options import DeploymentFilter, Format, FormatOption, StackFilter, StoreOption, emit
from helm_efficiency.cli.progress import bar
from helm_efficiency.cli.tables import Field
from helm_efficiency.core.rules import PrefillRule, Protocol
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.errors import InputError
from helm_efficiency.metrics.quantities import COUNT, PERCENT

_MEAN = "mean"
"""Name of the mean over deployments among the scores."""


_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 5),
    Field("protocol", "Held out"),
    Field("rule", "Rule"),
    Field("num_requests", "Requests", COUNT, 3),
    Field("one_token_error_fraction", "Error, first token", PERCENT, 1),
    Field("end_to_end_error_fraction", "Error, all", PERCENT),
    Field("coverage_fraction", "In the interval", PERCENT, 1),
    Field("half_width_fraction", "Half-width", PERCENT, 2),
)


@app.command(rich_help_panel="Measure")
def validate(
    *,
    deployment: DeploymentFilter = None,
    stack: StackFilter = None,
    rule: Annotated[
        list[PrefillRule] | None,
        "How prefill is read; may repeat. By default auto beside HELM's own rule.",
    ] = None,
    protocol: Annotated[list[Protocol] | None, "What is held out; may repeat. By default all."] = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Show errors and interval coverage on measurements that the fit has not seen, for whatever the store holds.

    Holds out prompt lengths: each interior one in turn, all but five, or the longest 45 %. Errors are fractions of what
    was measured, at one output token and over all output lengths; the interval's nominal coverage is 0.9. The mean over
    deployments comes last.

    Example: helm-efficiency example && helm-efficiency validate --store example/efficiency.sqlite
    """
    from helm_efficiency.core.fitting import validation
    from helm_efficiency.store import Store

    profiles = Store(store, create=False).profiles(stack=stack)
    if deployment and deployment not in {profile.deployment for profile in profiles}:
        known = ", ".join(sorted({profile.deployment for profile in profiles})) or "none"
        raise InputError(f"{store} has no measurements of {deployment}. It has those of: {known}.")
    scores = []
    held_out = protocol or tuple(Protocol)
    of_stacks = [[p for p in profiles if p.stack.name == name] for name in sorted({p.stack.name for p in profiles})]
    jobs = [(each, of_stack) for each in rule or (PrefillRule.auto, PrefillRule.helm) for of_stack in of_stacks]
    with bar("Validating", len(jobs)) as advance:
        for each, of_stack in jobs:
            scores += validation.validate(of_stack, rule=each, protocols=held_out)
            advance()
    if deployment:
        scores = [score for score in scores if score.deployment == deployment]
    if not scores:
        raise InputError(f"{store} has no profile with the three prompt lengths that holding one out takes.")
    if format is Format.table:  # a table shows ten rows, so the means come first
        scores.sort(key=lambda score: score.deployment != _MEAN)
    emit([_row(score._asdict()) for score in scores], format, _FIELDS)


def _row(values: dict[str, Any]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in values.items()}
