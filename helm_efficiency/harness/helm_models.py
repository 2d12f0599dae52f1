"""What HELM knows of each deployment: its model, whether the weights are open, and what it takes and gives."""

from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import yaml

_TEXT_TAGS = frozenset({"TEXT_MODEL_TAG", "CODE_MODEL_TAG"})
_OTHER_TAGS = {
    "TEXT_TO_IMAGE_MODEL_TAG": "makes images",
    "VISION_LANGUAGE_MODEL_TAG": "takes images",
    "AUDIO_LANGUAGE_MODEL_TAG": "takes audio",
    "TEXT_SIMILARITY_MODEL_TAG": "embeds text and generates none",
}


@dataclass(frozen=True, slots=True)
class HelmDeployment:
    """A deployment of HELM with what its model's metadata say.

    Attributes:
        name: HELM's `model_deployment`.
        model: HELM's `model`; equal to `name` where the deployment names none.
        is_open: Whether the metadata call the weights open.
        other_than_text: What the model does besides or instead of text, in words; empty for a text model.
        num_parameters: As the metadata have it; often rounded, sometimes wrong.
    """

    name: str
    model: str
    is_open: bool
    other_than_text: str
    num_parameters: int | None


def helm_deployments() -> list[HelmDeployment]:
    """All deployments that the installed HELM ships, in its order."""
    metadata = {model["name"]: model for model in _packaged("model_metadata.yaml")["models"]}
    deployments = []
    for deployment in _packaged("model_deployments.yaml")["model_deployments"]:
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


def _packaged(name: str) -> Any:
    return yaml.load(files("helm.config").joinpath(name).read_text(encoding="utf-8"), Loader=_LOADER)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # HELM's files are long; the C loader is ten times faster
