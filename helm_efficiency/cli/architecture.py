"""architecture: list, show and add sizes of language models."""

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from helm_efficiency.cli import app
from helm_efficiency.cli.command import App
from helm_efficiency.cli.options import ArchitecturesOption, Format, FormatOption, emit, load_catalog, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_ARCHITECTURES
from helm_efficiency.metrics.quantities import BYTES, COUNT, LARGE_COUNT

if TYPE_CHECKING:
    from helm_efficiency.catalog.architectures import CatalogEntry


_LISTED = (
    Field("architecture", "Architecture"),
    Field("family", "Family", None, 3),
    Field("parameters", "Parameters", LARGE_COUNT),
    Field("active", "Active a token", LARGE_COUNT, 2),
    Field("published", "Published", LARGE_COUNT, 5),
    Field("layers", "Layers", COUNT, 4),
    Field("hidden", "Width", COUNT, 4),
    Field("kv_bytes_per_token", "KV cache a token", BYTES, 3),
    Field("helm_models", "HELM models", COUNT, 5),
)
_FACTS = (Field("fact", "Fact"), Field("value", "Value", wraps=True))


architecture = App(
    help="Sizes of language models: list and show them, add one from its config.json.", no_args_is_help=True
)


app.add_typer(architecture, name="architecture", rich_help_panel="Estimate")


@architecture.command("list")
def list_architectures(
    pattern: Annotated[str, "Part of a name or a family."] = "",
    *,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """List architectures with their parameter counts.

    Example: helm-efficiency architecture list llama-3
    """
    entries = load_catalog(architectures).entries.values()
    chosen = [entry for entry in entries if pattern in entry.family or pattern in entry.architecture.name]
    emit([_summary(entry) for entry in chosen], format, _LISTED)


@architecture.command("show")
def show_architecture(
    name: Annotated[str, "Of an architecture, or of a model of HELM that has it."],
    *,
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """Show all sizes of an architecture, what follows from them, their source and who has it.

    Example: helm-efficiency architecture show meta/llama-3.1-8b-instruct
    """
    entry = load_catalog(architectures).find(name)
    sizes = entry.architecture
    facts: dict[str, Any] = {
        **{key: value for key, value in asdict(sizes).items() if value},
        "parameters": sizes.num_parameters(),
        "active_parameters": sizes.num_active_parameters(),
        "published_parameters": entry.published_parameters,
        "kv_cache_bytes_per_token_16_bit": 2 * sizes.kv_elements_per_token(),
        "family": entry.family,
        "source": entry.source,
        "helm_models": ", ".join(entry.helm_models) or None,
    }
    emit(
        [{"fact": fact, "value": value} for fact, value in facts.items() if value is not None],
        format,
        _FACTS,
        whole=True,
    )


@architecture.command("add")
def add_architecture(
    config: Annotated[str, "A config.json, the folder around it, or a model of the Hugging Face hub."],
    *,
    name: Annotated[str | None, "Of the architecture; by default the folder or the model."] = None,
    helm_model: Annotated[list[str], "A model of HELM that has it; may be repeated."] = [],  # noqa: B006
    architectures: ArchitecturesOption = DEFAULT_ARCHITECTURES,
    format: FormatOption = Format.table,
) -> None:
    """Read an architecture from a transformers config and keep it.

    Example: helm-efficiency example && helm-efficiency architecture add example/config.json --name mine
    """
    from helm_efficiency.catalog.architectures import add_to_file
    from helm_efficiency.core.transfer.architecture import Architecture
    from helm_efficiency.profiling.model_configs import read_config

    document, source, own_name = read_config(config)
    sizes = Architecture.from_transformers_config(document, name=name or own_name)
    if sizes.excluded:
        note(f"Without its {sizes.excluded}: only the language model is described.")
    entry = add_to_file(architectures, sizes, source=source, helm_models=helm_model)
    note(f"Kept in {architectures}.")
    emit([_summary(entry)], format, _LISTED)


def _summary(entry: "CatalogEntry") -> dict[str, Any]:
    sizes = entry.architecture
    return {
        "architecture": sizes.name,
        "family": entry.family,
        "parameters": sizes.num_parameters(),
        "active": sizes.num_active_parameters(),
        "published": entry.published_parameters,
        "layers": sizes.num_layers,
        "hidden": sizes.hidden_size,
        "kv_bytes_per_token": 2 * sizes.kv_elements_per_token(),
        "helm_models": len(entry.helm_models),
    }
