"""Report how many deployments have an idealized runtime on a stack, of which tier, and why the others have none."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from helm_efficiency.adapters.sources import read_runs
from helm_efficiency.catalog.architectures import ArchitectureCatalog
from helm_efficiency.catalog.helm_metadata import HelmDeployment
from helm_efficiency.core.tier import Tier
from helm_efficiency.metrics.efficiency import Coefficients


@dataclass(frozen=True, slots=True)
class Covered:
    """Coverage of one deployment.

    Attributes:
        deployment: HELM's `model_deployment`.
        model: HELM's `model`.
        tier: Tier of evidence of its coefficients.
        reason: Source of the coefficients, or the reason why they are missing.
        num_requests: Number of requests to the deployment in the archive; 0 without an archive.
    """

    deployment: str
    model: str
    tier: Tier
    reason: str
    num_requests: int = 0


def coverage(
    deployments: Iterable[HelmDeployment],
    coefficients: Coefficients,
    catalog: ArchitectureCatalog,
    *,
    stack: str,
    num_requests: Mapping[str, int] | None = None,
) -> list[Covered]:
    """Return the tier and the reason of each deployment on one stack.

    Args:
        deployments: Deployments to look for.
        coefficients: Measured and transferred coefficients.
        catalog: Catalog that says why a model has no architecture.
        stack: Name of the stack.
        num_requests: Number of requests by deployment, if an archive was counted.
    """
    counts = num_requests or {}
    rows = []
    for deployment in deployments:
        match = coefficients.match(stack, deployment.name, deployment.model)
        fit = match.fit if match else None
        tier = fit.tier if fit else Tier.none
        reason = "; ".join(fit.notes) if fit else _why_not(deployment, catalog)
        rows.append(Covered(deployment.name, deployment.model, tier, reason, counts.get(deployment.name, 0)))
    return rows


def summarize_coverage(rows: Sequence[Covered]) -> list[dict[str, object]]:
    """Count deployments and requests by tier, and those without coefficients by reason."""
    deployments: Counter[tuple[Tier, str]] = Counter()
    requests: Counter[tuple[Tier, str]] = Counter()
    for row in rows:
        key = (row.tier, row.reason if row.tier == Tier.none else "")
        deployments[key] += 1
        requests[key] += row.num_requests
    order_of_tiers = list(Tier)
    order = sorted(deployments, key=lambda key: (order_of_tiers.index(key[0]), -deployments[key], key))
    return [
        {"tier": tier, "deployments": deployments[tier, why], "requests": requests[tier, why], "why": why or None}
        for tier, why in order
    ]


def archive_deployments(
    paths: Iterable[str], known: Iterable[HelmDeployment]
) -> tuple[list[HelmDeployment], dict[str, int], list[str]]:
    """Find the deployments that were asked in the runs at or below some paths or addresses.

    Returns:
        The deployments, requests of each, and a line for each run that could not be read.

    Raises:
        InputError: A path does not exist, or an address cannot be read.
    """
    by_name = {deployment.name: deployment for deployment in known}
    by_model = {deployment.model: deployment for deployment in by_name.values()}
    found: dict[str, HelmDeployment] = {}
    counts: Counter[str] = Counter()
    failed: list[str] = []
    for run in read_runs(paths, on_error=lambda error: failed.append(str(error))):
        like = by_name.get(run.deployment) or by_model.get(run.model)
        found[run.deployment] = HelmDeployment(
            name=run.deployment,
            model=run.model,
            is_open=like.is_open if like else True,
            other_than_text=like.other_than_text if like else "",
            num_parameters=like.num_parameters if like else None,
        )
        counts[run.deployment] += len(run.records)
    return list(found.values()), dict(counts), failed


def _why_not(deployment: HelmDeployment, catalog: ArchitectureCatalog) -> str:
    if deployment.model in catalog.excluded:
        return catalog.excluded[deployment.model]
    if deployment.other_than_text:
        return f"not a text model: {deployment.other_than_text}"
    if catalog.of_model(deployment.model) or catalog.of_model(deployment.name):
        return "not transferred to this stack yet; run: helm-efficiency transfer"
    if not deployment.is_open:
        return "its weights and sizes are not published"
    return "its architecture is not in the catalog; run: helm-efficiency architecture add"
