"""Read HELM's own files on models, deployments and leaderboards, with or without an installed crfm-helm.

The files of the installed crfm-helm come first. Without it, a dated snapshot of the facts that scoring reads is used
(`data/helm_snapshot.json.gz`): names, tags, access, sizes and clients' model names, no prose. The snapshot is written
by `benchmarks/helm_snapshot.py` in an environment that has crfm-helm.
"""

import gzip
import json
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

_SNAPSHOT = "data/helm_snapshot.json.gz"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # HELM's files are long; the C loader is ten times faster


@cache
def helm_config(name: str) -> list[dict[str, Any]]:
    """Return the entries of one of HELM's configuration files: model_metadata, model_deployments, tokenizer_configs."""
    package = _installed("helm.config")
    if package is None:
        return snapshot_entries(name)
    [found] = yaml.load(package.joinpath(f"{name}.yaml").read_text(encoding="utf-8"), Loader=_LOADER).values()
    return found or []


def snapshot_entries(name: str) -> list[dict[str, Any]]:
    """Return the entries of one of these files in the snapshot, which is read 25 times as fast as HELM's own files."""
    entries: list[dict[str, Any]] = _snapshot()[name]
    return entries


@cache
def training_figures() -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Return HELM's figures of training energy and carbon, by kind and deployment."""
    package = _installed("helm.benchmark")
    if package is None:
        figures: Mapping[str, Mapping[str, Mapping[str, float]]] = _snapshot()["training_efficiency"]
        return figures
    text = package.joinpath("efficiency_data", "training_efficiency.json").read_text(encoding="utf-8")
    table: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(text)
    return table


@cache
def main_scores_of_groups() -> dict[str, tuple[str, ...]]:
    """Return the main score names by run group, over all of HELM's leaderboards; Classic's last."""
    package = _installed("helm.benchmark.static")
    if package is None:
        return {group: tuple(names) for group, names in _snapshot()["main_scores"].items()}
    found: dict[str, dict[str, None]] = {}
    schemas = [f for f in package.iterdir() if f.name.startswith("schema_")]
    for file in sorted(schemas, key=lambda f: (f.name == "schema_classic.yaml", f.name)):
        for group in _run_groups(file):
            name = (group.get("environment") or {}).get("main_name")
            if name:
                found.setdefault(group["name"], {})[name] = None
    return {group: tuple(names) for group, names in found.items()}


_RUN_GROUPS = re.compile(r"^run_groups:.*?(?=^\w|\Z)", re.MULTILINE | re.DOTALL)
"""Part of a schema that lists its run groups: reading the rest would take as long again."""


def _run_groups(file: Traversable) -> list[dict[str, Any]]:
    part = _RUN_GROUPS.search(file.read_text(encoding="utf-8"))
    return (yaml.load(part[0], Loader=_LOADER)["run_groups"] or []) if part else []


def _installed(package: str) -> Traversable | None:
    """Return the files of one of HELM's packages; None if crfm-helm is not installed."""
    try:
        return files(package)
    except ModuleNotFoundError:
        return None


@cache
def _snapshot() -> dict[str, Any]:
    packed = files("helm_efficiency.catalog").joinpath(_SNAPSHOT).read_bytes()
    facts: dict[str, Any] = json.loads(gzip.decompress(packed))
    return facts
