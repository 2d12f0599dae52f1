"""Names of models for people: HELM's display names, and the model behind each host's own name of it."""

import re
from functools import cache
from pathlib import Path

from helm_efficiency.catalog.helm_documents import snapshot_entries
from helm_efficiency.catalog.user_files import read_yaml

_TUNED = frozenset({"instruct", "chat", "it"})
"""Words that say that a model was tuned to follow instructions."""
_CHAT_ONLY_HOSTS = frozenset({"cerebras", "groq", "sambanova"})
"""Hosts that offer no model without chat tuning, so that they often leave the word out."""
_OF_HOSTS = frozenset(
    {"hf", "meta", "reference", "versatile", "instant", "4096", "8192", "16384", "32768", "65536", "131072"}
)
"""Words that hosts add to a name without other weights behind it; `turbo` and `lite` have weights of fewer bits."""


def display_name(name: str) -> str | None:
    """Return HELM's display name of the model behind a name, without brackets around its size; None if it has none.

    >>> display_name("groq/llama3-70b-8192"), display_name("me/mine")
    ('Llama 3 Instruct 70B', None)
    """
    found = _display_names().get(helm_model(name) or "")
    return found and re.sub(r" \((\d[\d.x]*[BM])\)$", r" \1", found)


@cache
def helm_model(name: str) -> str | None:
    """Return HELM's name of the model behind a deployment, of any host; None if it is unknown.

    >>> helm_model("together/Llama-3-8b-chat-hf"), helm_model("huggingface/Meta-Llama-3-8B")
    ('meta/llama-3-8b-chat', 'meta/llama-3-8b')
    """
    if name in _display_names():
        return name
    return _models_of_deployments().get(name) or _models_by_weights().get(_weights(name))


def deployment_at(base_url: str, model: str, path: Path) -> str | None:
    """Return the deployment of a user's `model_deployments.yaml` that asks a server; None if it is not exactly one.

    Args:
        base_url: Address of the server.
        model: Name of the model at the server; empty for its only one.
        path: File of deployments; it may be missing.

    Raises:
        FileFormatError: The file cannot be read.
    """
    entries = read_yaml(path).get("model_deployments") if path.exists() else None
    found = []
    for entry in entries or ():
        arguments = (entry.get("client_spec") or {}).get("args") or {}
        names = [value for key, value in arguments.items() if key.endswith("model_name")] or [entry["name"]]
        asked = str(arguments.get("base_url", "")).rstrip("/")
        if asked == base_url.rstrip("/") and (not model or model in names or entry["name"].endswith(f"/{model}")):
            found.append(str(entry["name"]))
    return found[0] if len(found) == 1 else None


def _weights(name: str) -> tuple[str, bool]:
    """Return the family and size in a name, and whether the weights are tuned to follow instructions."""
    host, _, last = name.rpartition("/")
    words = re.split(r"[-_ ]+", re.sub(r"\bv(\d)p(\d)", r"\1.\2", last.lower()))
    kept = "".join(word for word in words if word not in _TUNED and word not in _OF_HOSTS)
    return kept, host in _CHAT_ONLY_HOSTS or not _TUNED.isdisjoint(words)


@cache
def _display_names() -> dict[str, str]:
    return {model["name"]: model["display_name"] for model in snapshot_entries("model_metadata")}


@cache
def _models_of_deployments() -> dict[str, str]:
    return {each["name"]: each.get("model_name") or each["name"] for each in snapshot_entries("model_deployments")}


@cache
def _models_by_weights() -> dict[tuple[str, bool], str]:
    longest_first = sorted(_display_names(), key=len, reverse=True)  # the shortest of several names is kept
    return {_weights(name): name for name in longest_first}
