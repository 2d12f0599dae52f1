"""How many accelerators the paper, Narayanan et al., NeurIPS 2023, ran each of its ten models on."""

from helm_efficiency.catalog.reference_results import paper_2023
from helm_efficiency.errors import CatalogError


def paper_deployments() -> tuple[str, ...]:
    """HELM's names of the paper's ten models."""
    return tuple(paper_2023().models)


def paper_num_accelerators(deployment: str, accelerator: str) -> int:
    """Accelerators that the paper ran a model on.

    No rule is written down there; the counts are the tensor-parallel width that was profiled.

    Args:
        deployment: HELM's name.
        accelerator: A key of the accelerator catalog that begins with `a100` or `v100`.

    Raises:
        CatalogError: The paper has no such model or ran nothing on such an accelerator.
    """
    generation = accelerator.partition("-")[0]
    model = paper_2023().models.get(deployment)
    if model is None or generation not in model.num_accelerators:
        raise CatalogError(
            f"The paper has no accelerator count for {deployment!r} on {accelerator!r}. "
            f"It has A100 and V100 counts for: {', '.join(paper_deployments())}."
        )
    return model.num_accelerators[generation]
