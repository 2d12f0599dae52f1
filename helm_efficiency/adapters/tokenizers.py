"""Count tokens with tokenizers on this machine, for requests that nobody else counted.

Only a model's own tokenizer is used: one named by the user, the one that HELM names for a model with open weights (for
others HELM names a substitute), or the one in the model's own Hugging Face repository. Nothing is downloaded. Like
HELM's counts, they cover the text alone: no chat template, no begin-of-text token.
"""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from helm_efficiency.catalog.helm_documents import helm_config
from helm_efficiency.errors import InputError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_HUGGING_FACE_TOKENIZER = "helm.tokenizers.huggingface_tokenizer.HuggingFaceTokenizer"


class LocalTokenizers:
    """Counter of the tokens of texts, for models with a tokenizer on this machine; each is loaded once."""

    def __init__(self, named: Mapping[str, str] | None = None) -> None:
        """Register the tokenizers that the user names.

        Raises:
            InputError: A named tokenizer is not on this machine.
        """
        self._by_name: dict[tuple[str, str], Tokenizer | None] = {}
        self._named = {}
        for name, place in (named or {}).items():
            folder = Path(place) / "tokenizer.json"
            self._named[name] = _from_file(folder) if folder.is_file() else _from_hugging_face(place)
            if self._named[name] is None:
                raise InputError(f"{name}: no tokenizer.json of {place!r} on this machine; download it first.")

    def count(self, text: str, *, deployment: str, model: str) -> int | None:
        """Return the number of tokens of a text; None if the model's tokenizer is not on this machine."""
        tokenizer = self._of(deployment, model)
        return None if tokenizer is None else len(tokenizer.encode(text, add_special_tokens=False).ids)

    def has(self, *, deployment: str, model: str) -> bool:
        """Return whether the model's tokenizer is on this machine."""
        return self._of(deployment, model) is not None

    def _of(self, deployment: str, model: str) -> "Tokenizer | None":
        key = (deployment, model)
        if key not in self._by_name:
            self._by_name[key] = self._find(deployment, model)
        return self._by_name[key]

    def _find(self, deployment: str, model: str) -> "Tokenizer | None":
        for name in (deployment, model):
            if name in self._named:
                return self._named[name]
        repositories = [_helm_tokenizers().get(deployment, ""), model]
        return next((t for r in repositories if "/" in r and (t := _from_hugging_face(r)) is not None), None)


def _from_hugging_face(repository: str) -> "Tokenizer | None":
    """Load a tokenizer from Hugging Face's cache on this machine."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        file = try_to_load_from_cache(repository, "tokenizer.json")
    except HFValidationError:
        return None
    return _from_file(file) if isinstance(file, str) else None


def _from_file(file: Path | str) -> "Tokenizer":
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(file))


@cache
def _helm_tokenizers() -> dict[str, str]:
    """Map each HELM deployment with open weights to the Hugging Face repository of its tokenizer."""
    repositories = {
        config["name"]: (config["tokenizer_spec"].get("args") or {}).get(
            "pretrained_model_name_or_path", config["name"]
        )
        for config in helm_config("tokenizer_configs")
        if config["tokenizer_spec"]["class_name"] == _HUGGING_FACE_TOKENIZER
    }
    open_models = {model["name"] for model in helm_config("model_metadata") if model.get("access") == "open"}
    return {
        deployment["name"]: repositories[deployment["tokenizer_name"]]
        for deployment in helm_config("model_deployments")
        if deployment.get("model_name", deployment["name"]) in open_models
        and deployment.get("tokenizer_name") in repositories
    }
