"""HELM's facts on each deployment: its model, whether the weights are open, and the media of its input and output."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from helm_efficiency.catalog.helm_documents import helm_config, main_scores_of_groups, training_figures

_TEXT_TAGS = frozenset({"TEXT_MODEL_TAG", "CODE_MODEL_TAG"})
_OTHER_TAGS = {
    "TEXT_TO_IMAGE_MODEL_TAG": "makes images",
    "VISION_LANGUAGE_MODEL_TAG": "takes images",
    "AUDIO_LANGUAGE_MODEL_TAG": "takes audio",
    "TEXT_SIMILARITY_MODEL_TAG": "embeds text and generates none",
}


@dataclass(frozen=True, slots=True)
class HelmDeployment:
    """A deployment of HELM with the metadata of its model.

    Attributes:
        name: HELM's `model_deployment`.
        model: HELM's `model`; equal to `name` if the deployment does not name one.
        is_open: True if the metadata call the weights open.
        other_than_text: Description of what the model does in addition to text or instead of it; empty for a text
            model.
        num_parameters: Number of parameters in the metadata; often rounded, sometimes wrong.
    """

    name: str
    model: str
    is_open: bool
    other_than_text: str
    num_parameters: int | None


def helm_deployments() -> list[HelmDeployment]:
    """Return all deployments that the installed HELM ships, in its order."""
    metadata = {model["name"]: model for model in helm_config("model_metadata")}
    deployments = []
    for deployment in helm_config("model_deployments"):
        model = deployment.get("model_name") or deployment["name"]
        deployments.append(_deployment(deployment["name"], model, metadata.get(model, {})))
    return deployments


def _deployment(name: str, model: str, metadata: dict[str, Any]) -> HelmDeployment:
    tags = metadata.get("tags") or ()
    other = "" if _TEXT_TAGS & set(tags) else next((_OTHER_TAGS[tag] for tag in tags if tag in _OTHER_TAGS), "")
    return HelmDeployment(
        name=name,
        model=model,
        is_open=metadata.get("access") == "open",
        other_than_text=other,
        num_parameters=metadata.get("num_parameters"),
    )


CO2_STAT = "training_co2_cost"
ENERGY_STAT = "training_energy_cost"

_KG_PER_TONNE = 1000.0


def training_stats(deployment: str) -> dict[str, float]:
    """Return HELM's training figures of a deployment.

    Returns:
        `training_co2_cost` in kg and `training_energy_cost` in MWh; figures unknown to HELM are absent, never 0.
    """
    table = training_figures()
    found = {}
    if deployment in table["carbon"]:
        found[CO2_STAT] = table["carbon"][deployment]["value"] * _KG_PER_TONNE
    if deployment in table["energy"]:
        found[ENERGY_STAT] = table["energy"][deployment]["value"]
    return found


BOOKKEEPING_PREFIXES = (
    *("num_", "max_num_", "finish_reason_", "inference_", "training_", "estimated_", "platt_", "ece_"),
    *("idealized_", "loaded_", "api_cost_", "prompt_tokens_from_", "output_tokens_from_"),
)
"""Prefixes of the names of stats that count, time, price or calibrate; they do not score an answer. The second line
holds the prefixes of this package."""

BOOKKEEPING_NAMES = frozenset(
    {
        *("batch_size", "prompt_truncated", "prompt_length", "max_prob", "predicted_index", "logprob"),
        *("logprob_per_byte", "bits_per_byte", "perplexity", "denoised_runtime", "runtime_efficiency_ratio"),
    }
)
"""Further stats that do not score an answer."""


@lru_cache(maxsize=4096)
def is_score(name: str) -> bool:
    """Return True if a HELM stat scores an answer, as opposed to bookkeeping and efficiency.

    >>> [name for name in ("exact_match", "num_prompt_tokens", "finish_reason_stop", "logprob") if is_score(name)]
    ['exact_match']
    """
    return name not in BOOKKEEPING_NAMES and not name.startswith(BOOKKEEPING_PREFIXES)


def main_score(groups: Sequence[str], metric_args: Iterable[dict[str, Any]], available: Collection[str]) -> str | None:
    """Return the name of a run's main score, or None if it is unknown.

    HELM's leaderboards state it for each group of runs. Otherwise it is the first name that a metric was asked for, or
    the only score of the run.
    """
    schemas = main_scores_of_groups() if groups else {}
    lists = (names for args in metric_args if isinstance(names := args.get("names"), list))
    asked_for = (name for names in lists for name in names if isinstance(name, str))
    of_groups = (name for group in groups for name in schemas.get(group, ()))
    for name in (*of_groups, *asked_for):
        if name in available:
            return name
    return next(iter(available)) if len(available) == 1 else None
