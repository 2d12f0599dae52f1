"""Read the config.json of a model: a local file, or that of a model of the Hugging Face hub."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from helm_efficiency.errors import FileFormatError, InputError
from helm_efficiency.files import read_bytes


class ModelConfig(NamedTuple):
    """A transformers config as published.

    Attributes:
        values: Values of the file, unchanged.
        source: Path or address that the config was read from.
        name: Name of the folder or of the model.
    """

    values: dict[str, Any]
    source: str
    name: str


def read_config(where: str) -> ModelConfig:
    """Read a config.

    Args:
        where: A `config.json`, a folder that holds one, or a model of the Hugging Face hub such as `Qwen/Qwen3-8B`,
            which is downloaded unless the hub's cache has it or HF_HUB_OFFLINE is set.

    Raises:
        InputError: The file does not exist, and the hub has no such model.
        FileFormatError: The file is not a JSON object.
    """
    path = Path(where)
    if path.is_dir():
        path /= "config.json"
    if path.is_file():
        name = path.absolute().parent.name if path.name == "config.json" else path.stem
        return ModelConfig(_parse(path), str(path), name)
    if path.suffix == ".json" or (path.parent.is_dir() and len(path.parts) > 2):
        raise InputError(f"{path}: no such file; expected a config.json as published with the weights.")
    return ModelConfig(_parse(_download(where)), f"https://huggingface.co/{where} config.json", where)


def _download(model: str) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(model, "config.json"))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{model!r} is neither a config.json, nor a folder with one, nor a model to be had from the hub: {reason}"
        ) from error


def _parse(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(read_bytes(path))
    except (OSError, ValueError, RecursionError) as error:
        raise FileFormatError(f"{path}: not a readable config.json ({error}).") from error
    if not isinstance(values, dict):
        raise FileFormatError(f"{path}: expected a JSON object as published with the weights.")
    return values
