"""Published results to compare with: the ten models of Narayanan et al., NeurIPS 2023.

The figures are in `data/paper_2023.csv`, one row per scenario and model. Facts on a model, a stack or the whole paper,
including the sources, are in `data/paper_2023.yaml`.
"""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.resources import files

import yaml

from helm_efficiency.core.tier import Tier
from helm_efficiency.errors import CatalogError


@dataclass(frozen=True, slots=True)
class PaperModel:
    """One of the ten models.

    Attributes:
        name: HELM's name of the deployment.
        label: Name in the published figures.
        parameters: Number of weights, as plotted.
        num_accelerators: Number of accelerators that the paper bills, by stack.
        tier: Tier of evidence for its idealized runtimes.
    """

    name: str
    label: str
    parameters: float
    num_accelerators: Mapping[str, int]
    tier: Tier


@dataclass(frozen=True, slots=True)
class PaperStack:
    """One of the two stacks.

    Attributes:
        detail: Accelerator, engine and dtype.
        usd_per_accelerator_hour: Exact price, as billed by the paper.
        price_source: Publisher of the price.
    """

    detail: str
    usd_per_accelerator_hour: Decimal
    price_source: str


@dataclass(frozen=True, slots=True)
class PaperResult:
    """One model on one scenario; every runtime is a mean over instances, in seconds.

    Attributes:
        scenario: HELM's run name without the model.
        model: Name of the model, as `PaperModel.name`.
        num_correct: Number of exact matches.
        num_instances: Number of instances, including perturbed copies.
        raw_s: Observed runtime.
        denoised_s: Denoised runtime; None if the authors have no value.
        idealized_s: Idealized runtime by stack; a stack is absent if the authors have no value.
        flops: Operations of a forward pass over prompt and output, for one instance.
        mean_tokens: Mean of prompt and output tokens less one.
        first_prompt_tokens: Prompt tokens of the first instance, which alone the published figures show.
        first_output_tokens: Output tokens of the first instance.
        published_s: Idealized runtime in the published figure.
        published_usd: Idealized cost in the published figure.
    """

    scenario: str
    model: str
    num_correct: int
    num_instances: int
    raw_s: float
    denoised_s: float | None
    idealized_s: Mapping[str, float]
    flops: float
    mean_tokens: float
    first_prompt_tokens: int
    first_output_tokens: int
    published_s: float
    published_usd: float


@dataclass(frozen=True, slots=True)
class PaperResults:
    """All results of the paper.

    Attributes:
        results: Results by scenario, in the published order, then by model.
        models: Models by name.
        stacks: Stacks by name: `a100`, `v100`.
        source: Origin of the figures.
        remarks: Errors and oddities of the published figures.
    """

    results: tuple[PaperResult, ...]
    models: Mapping[str, PaperModel]
    stacks: Mapping[str, PaperStack]
    source: str
    remarks: tuple[str, ...]


@cache
def paper_2023() -> PaperResults:
    """Return the figures of the paper, as transcribed."""
    folder = files("helm_efficiency.catalog") / "data"
    facts = yaml.safe_load((folder / "paper_2023.yaml").read_text(encoding="utf-8"))
    rows = csv.DictReader((folder / "paper_2023.csv").read_text(encoding="utf-8").splitlines())
    stacks = {
        name: PaperStack(**stack | {"usd_per_accelerator_hour": Decimal(str(stack["usd_per_accelerator_hour"]))})
        for name, stack in facts["stacks"].items()
    }
    models = {
        model["name"]: PaperModel(
            name=model["name"],
            label=model["label"],
            parameters=float(model["parameters"]),
            num_accelerators={stack: model[stack] for stack in stacks},
            tier=Tier(model["tier"]),
        )
        for model in facts["models"]
    }
    return PaperResults(tuple(map(_result, rows)), models, stacks, facts["source"], tuple(facts["remarks"]))


def _result(row: Mapping[str, str]) -> PaperResult:
    idealized = {stack: row[f"idealized_{stack}_s"] for stack in ("a100", "v100")}
    return PaperResult(
        scenario=row["scenario"],
        model=row["model"],
        num_correct=int(row["num_correct"]),
        num_instances=int(row["num_instances"]),
        raw_s=float(row["raw_s"]),
        denoised_s=float(row["denoised_s"]) if row["denoised_s"] else None,
        idealized_s={stack: float(seconds) for stack, seconds in idealized.items() if seconds},
        flops=float(row["flops"]),
        mean_tokens=float(row["mean_tokens"]),
        first_prompt_tokens=int(row["first_prompt_tokens"]),
        first_output_tokens=int(row["first_output_tokens"]),
        published_s=float(row["published_s"]),
        published_usd=float(row["published_cents"]) / 100,
    )


def paper_deployments() -> tuple[str, ...]:
    """Return HELM's names of the paper's ten models."""
    return tuple(paper_2023().models)


def paper_num_accelerators(deployment: str, accelerator: str) -> int:
    """Return the number of accelerators on which the paper ran a model.

    The paper does not state a rule; the counts are the tensor-parallel width that was profiled.

    Raises:
        CatalogError: The paper has no such model, or no runs on such an accelerator.
    """
    generation = accelerator.partition("-")[0]
    model = paper_2023().models.get(deployment)
    if model is None or generation not in model.num_accelerators:
        raise CatalogError(
            f"The paper has no accelerator count for {deployment!r} on {accelerator!r}. "
            f"It has A100 and V100 counts for: {', '.join(paper_deployments())}."
        )
    return model.num_accelerators[generation]
