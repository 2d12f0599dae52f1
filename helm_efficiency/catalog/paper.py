"""What the paper, Narayanan et al., NeurIPS 2023, fixed by hand for its ten models."""

from functools import cache
from importlib.resources import files

import yaml

from helm_efficiency.errors import CatalogError


@cache
def _counts() -> dict[str, dict[str, int]]:
    text = files("helm_efficiency.catalog").joinpath("data/paper_2023.yaml").read_text(encoding="utf-8")
    counts: dict[str, dict[str, int]] = yaml.safe_load(text)["num_accelerators"]
    return counts


def paper_deployments() -> tuple[str, ...]:
    """HELM's names of the paper's ten models."""
    return tuple(_counts())


def paper_num_accelerators(deployment: str, accelerator: str) -> int:
    """Accelerators that the paper ran a model on.

    Args:
        deployment: HELM's name.
        accelerator: A key of the accelerator catalog that begins with `a100` or `v100`.

    Raises:
        CatalogError: The paper has no such model or ran nothing on such an accelerator.
    """
    generation = accelerator.partition("-")[0]
    if deployment not in _counts() or generation not in _counts()[deployment]:
        raise CatalogError(
            f"The paper has no accelerator count for {deployment!r} on {accelerator!r}. "
            f"It has A100 and V100 counts for: {', '.join(paper_deployments())}."
        )
    return _counts()[deployment][generation]
