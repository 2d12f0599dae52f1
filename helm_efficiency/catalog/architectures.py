"""The architectures of open-weight language models, and which of HELM's models has which.

The sizes stand in `data/architectures.yaml`, each family with its source. A published parameter count stands beside
the sizes, so that a test can hold them against each other.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

import yaml

from helm_efficiency.catalog.user_files import read_yaml
from helm_efficiency.core.transfer.architecture import Architecture
from helm_efficiency.errors import CatalogError, FileFormatError, InputError
from helm_efficiency.files import write_file

_NOT_SIZES = ("parameters", "rounded", "helm")

_SAME_ARCHITECTURE = frozenset(
    {
        *("instruct", "chat", "it", "base", "hf", "turbo", "lite", "tput", "reference", "versatile", "preview", "meta"),
        *("fp8", "bf16", "fp16", "int8", "int4", "4bit", "8bit", "awq", "gptq"),
        *("4096", "8192", "16384", "32768", "65536", "131072", "4k", "8k", "16k", "32k", "64k", "128k"),
    }
)
"""Words in the name of a model that do not change its architecture."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An architecture, where its sizes come from, and who has it.

    Attributes:
        architecture: The sizes.
        family: Such as `llama-3`.
        source: Who published the sizes, where.
        published_parameters: As the publisher counts them; None if nobody published a count.
        is_rounded: Whether the publisher rounds the count, or counts something more or less.
        helm_models: HELM's names of the models that have it, the model itself before its derivatives.
    """

    architecture: Architecture
    family: str
    source: str
    published_parameters: float | None
    is_rounded: bool
    helm_models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ArchitectureCatalog:
    """All known architectures.

    Attributes:
        entries: By the architecture's name.
        excluded: Models without an entry, with the reason.
    """

    entries: Mapping[str, CatalogEntry]
    excluded: Mapping[str, str]
    _by_model: Mapping[str, CatalogEntry] = field(init=False, repr=False, compare=False)
    _by_key: Mapping[str, CatalogEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [(name, entry) for entry in self.entries.values() for name in entry.helm_models]
        object.__setattr__(self, "_by_model", dict(names))
        named = [*names, *((name, entry) for name, entry in self.entries.items())]
        object.__setattr__(self, "_by_key", {_key_of(name): entry for name, entry in reversed(named)})

    def find(self, name: str) -> CatalogEntry:
        """Look one up by the architecture's name, or by a model or deployment that has it (see `of_model`).

        Raises:
            CatalogError: There is none; says why, where that is known.
        """
        entry = self.entries.get(name) or self.of_model(name)
        if entry is None:
            reason = self.excluded.get(name, "not in the catalog")
            raise CatalogError(
                f"No architecture for {name!r}: {reason}. List them with: helm-efficiency architecture list. "
                "Add one from its config.json with: helm-efficiency architecture add CONFIG"
            )
        return entry

    def of_model(self, name: str) -> CatalogEntry | None:
        """The entry of a model or a deployment, None if there is none.

        By HELM's name of the model. Else by the rule that hosts rename models but keep family and size: the part after
        the last slash is compared without case and hyphens and without words that do not change the architecture
        (`instruct`, `chat`, `hf`, `turbo`, `fp8`, a context length …), so that `groq/llama3-70b-8192` is Llama 3 70B.
        """
        return self._by_model.get(name) or self._by_key.get(_key_of(name))

    def with_entries(self, entries: Iterable[CatalogEntry]) -> "ArchitectureCatalog":
        """The catalog with more entries; one of a name that is there replaces it."""
        added = {entry.architecture.name: entry for entry in entries}
        return ArchitectureCatalog(MappingProxyType({**self.entries, **added}), self.excluded)


@cache
def load_architectures() -> ArchitectureCatalog:
    """The packaged catalog.

    Returns:
        Entries by name of the architecture; `find` looks one up by that or by HELM's name of a model.

    Example:
        >>> from helm_efficiency import load_architectures
        >>> load_architectures().find("meta/llama-3.1-8b-instruct").architecture.num_layers
        32
    """
    text = files("helm_efficiency.catalog").joinpath("data/architectures.yaml").read_text(encoding="utf-8")
    document = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # ten times as fast in C
    excluded = {model: reason for reason, models in document["excluded"].items() for model in models}
    return ArchitectureCatalog(
        entries=MappingProxyType(dict(_entries(document["families"], "data/architectures.yaml"))),
        excluded=MappingProxyType(excluded),
    )


def load_user_architectures(path: Path) -> ArchitectureCatalog:
    """The packaged catalog with the families of a user's own file of the same shape.

    Raises:
        FileFormatError: The file cannot be read, or an entry is wrong.
    """
    document = read_yaml(path)
    try:
        families = document["families"]
        added = [entry for _, entry in _entries(families, str(path))]
    except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise FileFormatError(f"{path}: not a file of architectures ({type(error).__name__}: {error}).") from error
    return load_architectures().with_entries(added)


@cache
def _key_of(name: str) -> str:
    """Family and size from the name of a model or deployment: `llama370b` of `groq/llama3-70b-8192`."""
    last = re.sub(r"\bv(\d)p(\d)", r"\1.\2", name.rsplit("/", 1)[-1].lower())
    return "".join(word for word in re.split(r"[-_ ]+", last) if word not in _SAME_ARCHITECTURE)


def _entries(families: Mapping[str, Any], where: str) -> Iterable[tuple[str, CatalogEntry]]:
    for family, description in families.items():
        for name, given in description["models"].items():
            sizes = {**description.get("shared", {}), **given}
            facts = {key: sizes.pop(key, None) for key in _NOT_SIZES}
            sizes.setdefault("num_kv_heads", sizes.get("num_heads"))
            sizes.setdefault("head_size", sizes.get("hidden_size", 0) // sizes.get("num_heads", 1))
            try:
                architecture = Architecture.from_dict({"name": name, **sizes})
            except InputError as error:
                raise FileFormatError(f"{where}, {name}: {error}") from error
            yield (
                name,
                CatalogEntry(
                    architecture=architecture,
                    family=str(family),
                    source=str(description["source"]),
                    published_parameters=facts["parameters"],
                    is_rounded=bool(facts["rounded"]),
                    helm_models=tuple(map(str, facts["helm"] or ())),
                ),
            )


def add_to_file(
    path: Path, architecture: Architecture, *, source: str, helm_models: Iterable[str] = ()
) -> CatalogEntry:
    """Put an architecture into a user's own file, in place of an earlier one of that name.

    Args:
        path: Of the file; made if it is not there.
        architecture: To keep.
        source: Where its sizes come from.
        helm_models: HELM's names of the models that have it.

    Raises:
        FileFormatError: The file is there and is not one of architectures.
        OutputError: It cannot be written; an earlier one is as it was.
    """
    families = {}
    if path.exists():
        load_user_architectures(path)
        families = read_yaml(path)["families"]
    sizes = {key: value for key, value in architecture.to_dict().items() if value and key != "name"}
    families[architecture.name] = {
        "source": source,
        "models": {architecture.name: {**sizes, "helm": list(helm_models)}},
    }
    write_file(path, yaml.safe_dump({"families": families}, sort_keys=False))
    return load_user_architectures(path).entries[architecture.name]
