"""The architectures of open-weight language models, and the HELM models that have them.

The sizes are in `data/architectures.yaml`, each family with its source. The file also gives a published parameter count
for each model, so that a test can compare it with the sizes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
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

_NOT_SIZES = ("parameters", "rounded", "helm", "also", "dtype")

_SAME_ARCHITECTURE = frozenset(
    {
        *("instruct", "chat", "it", "base", "hf", "turbo", "lite", "tput", "reference", "versatile", "preview", "meta"),
        *("fp8", "bf16", "fp16", "int8", "int4", "4bit", "8bit", "awq", "gptq", "nvfp4", "mxfp4", "static"),
        *("pertensor", "thinking", "0528", "0905", "2507"),
        *("4096", "8192", "16384", "32768", "65536", "131072", "4k", "8k", "16k", "32k", "64k", "128k"),
    }
)
"""Words in the name of a model that do not change its architecture."""

_DTYPE_OF_WORD = {
    **dict.fromkeys(("fp4", "nvfp4", "mxfp4"), "fp4"),
    "fp8": "fp8",
    **dict.fromkeys(("int8", "8bit", "w8a8"), "int8"),
    **dict.fromkeys(("int4", "4bit", "w4a16", "awq", "gptq"), "int4"),
    **dict.fromkeys(("bf16", "bfloat16"), "bf16"),
    **dict.fromkeys(("fp16", "float16"), "fp16"),
}
"""Precision of the weights by the word in a name that states it; the first word found counts."""

DEFAULT_DTYPE = "bf16"
"""Precision of a checkpoint if its entry does not state one: most are in bf16, the older ones in fp16, which is as
wide."""


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """An architecture, the source of its sizes, and the models that have it.

    Attributes:
        architecture: Sizes of the architecture.
        family: Family of the architecture, such as `llama-3`.
        source: Publisher of the sizes, and the publication.
        published_parameters: Number of parameters as counted by the publisher; None if no count was published.
        is_rounded: True if the publisher rounds the count, or counts more or fewer parts.
        helm_models: HELM's names of the models with this architecture, the model itself before its derivatives.
        other_names: Further names of such models, most of them Hugging Face ids.
        dtype: Precision of the weights in the publisher's checkpoint.
    """

    architecture: Architecture
    family: str
    source: str
    published_parameters: float | None
    is_rounded: bool
    helm_models: tuple[str, ...]
    other_names: tuple[str, ...] = ()
    dtype: str = DEFAULT_DTYPE


@dataclass(frozen=True, slots=True)
class ArchitectureCatalog:
    """All known architectures.

    Attributes:
        entries: Entries by the architecture's name.
        excluded: Reasons by model, for models without an entry.
    """

    entries: Mapping[str, CatalogEntry]
    excluded: Mapping[str, str]
    _by_model: Mapping[str, CatalogEntry] = field(init=False, repr=False, compare=False)
    _by_key: Mapping[str, CatalogEntry] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [(name, entry) for entry in self.entries.values() for name in (*entry.helm_models, *entry.other_names)]
        object.__setattr__(self, "_by_model", dict(names))
        named = [*names, *((name, entry) for name, entry in self.entries.items())]
        object.__setattr__(self, "_by_key", {name_key(name): entry for name, entry in reversed(named)})

    def find(self, name: str) -> CatalogEntry:
        """Look up an entry by the architecture's name, or by a model or deployment that has it (see `of_model`).

        Raises:
            CatalogError: The catalog has no such entry; the message gives the reason if it is known.
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
        """Return the entry of a model or a deployment, or None if the catalog does not know it.

        The entry is found by HELM's name of the model. Otherwise the rule is that hosts rename models but keep family
        and size: the part after the last slash is compared without case and hyphens and without words that do not
        change the architecture (`instruct`, `chat`, `hf`, `turbo`, `fp8`, a context length …), so that
        `groq/llama3-70b-8192` is Llama 3 70B.
        """
        return self._by_model.get(name) or self._by_key.get(name_key(name))

    def dtype_of(self, name: str) -> str:
        """Return the precision of a model's weights: the one in its name, or else that of its checkpoint, or else bf16.

        Example:
            >>> catalog = load_architectures()
            >>> [catalog.dtype_of(name) for name in ("deepseek-r1", "Qwen/Qwen3-32B-FP8", "llama-3-8b")]
            ['fp8', 'fp8', 'bf16']
        """
        stated = dtype_in_name(name)
        if stated is not None:
            return stated
        entry = self.entries.get(name) or self.of_model(name)
        return DEFAULT_DTYPE if entry is None else entry.dtype

    def with_entries(self, entries: Iterable[CatalogEntry]) -> "ArchitectureCatalog":
        """Return the catalog with more entries; an added entry replaces one of the same name."""
        added = {entry.architecture.name: entry for entry in entries}
        return ArchitectureCatalog(MappingProxyType({**self.entries, **added}), self.excluded)


def dtype_in_name(name: str) -> str | None:
    """Return the precision of the weights that a name states, or None.

    Example:
        >>> [dtype_in_name(name) for name in ("nvidia/DeepSeek-V3.1-NVFP4", "awq.4bit (fp16 compute)", "llama")]
        ['fp4', 'int4', None]
    """
    words = set(re.split(r"[^a-z0-9]+", name.lower()))
    return next((dtype for word, dtype in _DTYPE_OF_WORD.items() if word in words), None)


@cache
def load_architectures() -> ArchitectureCatalog:
    """Return the packaged catalog.

    Returns:
        Entries by name of the architecture; `find` looks one up by that name or by HELM's name of a model.

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
    """Return the packaged catalog with the families of a user's own file of the same shape.

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
def name_key(name: str) -> str:
    """Return family and size from the name of a model or deployment: `llama370b` for `groq/llama3-70b-8192`."""
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
                    other_names=tuple(map(str, facts["also"] or ())),
                    dtype=str(facts["dtype"] or DEFAULT_DTYPE),
                ),
            )


def add_to_file(
    path: Path, architecture: Architecture, *, source: str, helm_models: Iterable[str] = ()
) -> CatalogEntry:
    """Write an architecture into a user's own file, in place of an earlier one of that name.

    Raises:
        FileFormatError: The file exists and is not a file of architectures.
        OutputError: The file cannot be written; an earlier one is left as it was.
    """
    families = {}
    if path.exists():
        load_user_architectures(path)
        families = read_yaml(path)["families"]
    sizes = {key: value for key, value in asdict(architecture).items() if value and key != "name"}
    families[architecture.name] = {
        "source": source,
        "models": {architecture.name: {**sizes, "helm": list(helm_models)}},
    }
    write_file(path, yaml.safe_dump({"families": families}, sort_keys=False))
    return load_user_architectures(path).entries[architecture.name]
