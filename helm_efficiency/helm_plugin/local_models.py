"""Register local Hugging Face models in HELM's own configuration files.

`helm-run --enable-local-huggingface-models` registers them for the duration of a run; `helm-summarize` lacks this
option and reads only `--local-path`. So they are written there, where both find them.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig, AutoTokenizer

_CLIENT = "helm.clients.huggingface_client.HuggingFaceClient"
_TOKENIZER = "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer"


def deployment_of(model: Path) -> str:
    """Return HELM's name of a local Hugging Face model: `huggingface/` and the name of its folder."""
    return f"huggingface/{model.name}"


def write_configs(models: Sequence[Path], local_path: Path, *, release_date: date) -> None:
    """Write `model_deployments.yaml`, `model_metadata.yaml` and `tokenizer_configs.yaml` for local models."""
    local_path.mkdir(parents=True, exist_ok=True)
    contents = {
        "model_deployments": [_deployment(model) for model in models],
        "model_metadata": [_metadata(model, release_date) for model in models],
        "tokenizer_configs": [_tokenizer_config(model) for model in models],
    }
    for name, entries in contents.items():
        key = "models" if name == "model_metadata" else name
        (local_path / f"{name}.yaml").write_text(yaml.safe_dump({key: entries}, sort_keys=False))


def _object(class_name: str, model: Path) -> dict[str, Any]:
    return {"class_name": class_name, "args": {"pretrained_model_name_or_path": str(model.absolute())}}


def _deployment(model: Path) -> dict[str, Any]:
    name = deployment_of(model)
    return {
        "name": name,
        "model_name": name,
        "tokenizer_name": name,
        "max_sequence_length": AutoConfig.from_pretrained(model, trust_remote_code=False).max_position_embeddings,
        "client_spec": _object(_CLIENT, model),
    }


def _metadata(model: Path, release_date: date) -> dict[str, Any]:
    return {
        "name": deployment_of(model),
        "display_name": model.name,
        "description": f"A local model, {model.name}.",
        "creator_organization_name": "local",
        "access": "open",
        "release_date": release_date,
        "tags": ["TEXT_MODEL_TAG", "FULL_FUNCTIONALITY_TEXT_MODEL_TAG"],
    }


def _tokenizer_config(model: Path) -> dict[str, Any]:
    tokenizer = AutoTokenizer.from_pretrained(model, trust_remote_code=False)
    return {
        "name": deployment_of(model),
        "tokenizer_spec": _object(_TOKENIZER, model),
        "end_of_text_token": tokenizer.eos_token or "",
        "prefix_token": tokenizer.bos_token or "",
    }
