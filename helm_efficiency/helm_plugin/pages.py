"""Prepare a scored folder for HELM's own pages: a schema with efficiency columns, and models unknown to HELM."""

import json
import shutil
from collections.abc import Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from helm_efficiency.catalog.helm_documents import helm_config
from helm_efficiency.catalog.user_files import read_yaml
from helm_efficiency.errors import InputError
from helm_efficiency.files import write_file
from helm_efficiency.helm_stats.schema import add_efficiency, read_schema, shipped_schemas, to_yaml

_USUAL_SCHEMAS = ("lite", "classic")
_UNKNOWN = {"access": "open", "release_date": date(1970, 1, 1), "tags": ["TEXT_MODEL_TAG"]}
"""Facts that HELM asks for of a model and its pages hardly show."""


def choose_suite(output: Path, suite: str | None) -> str:
    """Return the suite to show: the one that is named, or the only one.

    Raises:
        InputError: The folder has no such suite, or several and none is named.
    """
    runs = output / "runs"
    names = sorted(path.name for path in runs.iterdir() if path.is_dir()) if runs.is_dir() else []
    if not names:
        raise InputError(
            f"{output}: no HELM suite in it. Score HELM runs: helm-efficiency rescore RUNS --output {output}"
        )
    if suite is None and len(names) == 1:
        return names[0]
    if suite not in names:
        raise InputError(
            f"{'Name a suite with --suite' if suite is None else f'No suite {suite!r}'}: {', '.join(names)}."
        )
    return suite


def write_schema(output: Path, suite: str, *, name: str | None, stacks: Sequence[str]) -> Path:
    """Write a schema of HELM with efficiency columns next to the runs, and return its path.

    Args:
        output: Scored folder.
        suite: Suite to show.
        name: Schema that crfm-helm ships, or a file; None for the first one that knows the scenarios of the suite.
        stacks: Stacks that get a column of their own; empty for none.

    Raises:
        InputError: There is no such schema, or no schema knows the scenarios.
    """
    groups = {group for spec in _run_specs(output, suite) for group in spec.get("groups") or []}
    for candidate in [name] if name else dict.fromkeys((*_USUAL_SCHEMAS, *shipped_schemas())):
        schema = read_schema(candidate)
        if name or groups & {group["name"] for group in schema["run_groups"]}:
            path = output / "schema_efficiency.yaml"
            write_file(path, to_yaml(add_efficiency(schema, stacks=stacks, file=candidate)))
            return path
    raise InputError(
        f"No schema of crfm-helm knows {', '.join(sorted(groups)) or 'the runs'}: name a file with --schema."
    )


def write_configs(output: Path, suite: str, *, local_path: Path) -> tuple[Path, list[str]]:
    """Write the user's HELM configuration with the models that neither it nor HELM knows.

    Without them, HELM asks Hugging Face's hub for a model of `huggingface/` and dies where there is none.

    Returns:
        Folder of the configuration, and the names of the added models.
    """
    folder = output / "helm_config"
    folder.mkdir(exist_ok=True)
    for name in ("tokenizer_configs.yaml", "model_deployments.yaml"):
        if (local_path / name).is_file():
            shutil.copyfile(local_path / name, folder / name)
    own = _own_models(local_path / "model_metadata.yaml")
    known = {model["name"] for model in (*own, *helm_config("model_metadata"))}
    asked = {str(spec["adapter_spec"]["model"]) for spec in _run_specs(output, suite)}
    added = sorted(asked - known - {""})
    models = [*own, *map(_metadata, added)]
    write_file(folder / "model_metadata.yaml", yaml.safe_dump({"models": models}, sort_keys=False, allow_unicode=True))
    return folder, added


def _own_models(path: Path) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = read_yaml(path).get("models") or [] if path.is_file() else []
    return models


def _metadata(name: str) -> dict[str, Any]:
    creator, _, _ = name.rpartition("/")
    return {
        "name": name,
        "display_name": name,
        "description": "Not among the models that crfm-helm knows.",
        "creator_organization_name": creator or "unknown",
        **_UNKNOWN,
    }


def _run_specs(output: Path, suite: str) -> Iterator[dict[str, Any]]:
    for path in sorted((output / "runs" / suite).glob("*/run_spec.json")):
        spec: dict[str, Any] = json.loads(path.read_bytes())
        yield spec
