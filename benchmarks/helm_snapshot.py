"""Write the snapshot of crfm-helm's facts that the package reads where crfm-helm is not installed.

python benchmarks/helm_snapshot.py helm_efficiency/catalog/data/helm_snapshot.json.gz
"""

import gzip
import importlib.metadata
import json
import sys
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from helm_efficiency.catalog.helm_documents import helm_config, main_scores_of_groups, training_figures

_KEPT = {
    "model_metadata": ("name", "display_name", "access", "tags", "num_parameters"),
    "model_deployments": ("name", "model_name", "tokenizer_name", "client_spec"),
    "tokenizer_configs": ("name", "tokenizer_spec"),
}
"""Keys that scoring reads in each entry of HELM's configuration files."""
_KEPT_ARGUMENTS = ("_model", "_model_name", "_model_id", "pretrained_model_name_or_path")
"""Endings of the argument names of clients and tokenizers that name a model."""


def make_snapshot(on: date) -> bytes:
    """Return the snapshot of the installed crfm-helm; the same facts and day give the same bytes."""
    facts: dict[str, Any] = {"version": importlib.metadata.version("crfm-helm"), "date": on.isoformat()}
    facts |= {name: [_facts(entry, keys) for entry in helm_config(name)] for name, keys in _KEPT.items()}
    facts |= {"training_efficiency": training_figures(), "main_scores": main_scores_of_groups()}
    return gzip.compress(json.dumps(facts, separators=(",", ":")).encode(), compresslevel=9, mtime=0)


def _facts(entry: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the facts of an entry; for a client or tokenizer, its class and the models that it names."""
    kept = {key: entry[key] for key in keys if entry.get(key) is not None}
    for key in ("client_spec", "tokenizer_spec"):
        if key in kept:
            arguments = {k: v for k, v in (kept[key].get("args") or {}).items() if k.endswith(_KEPT_ARGUMENTS)}
            kept[key] = {"class_name": kept[key]["class_name"], "args": arguments}
    return kept


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(make_snapshot(date.today()))
