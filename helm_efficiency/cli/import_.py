"""import: bring measurements or coefficients from elsewhere into the store."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from helm_efficiency.cli import app
from helm_efficiency.cli.options import Format, FormatOption, PricesOption, StoreOption, emit, note
from helm_efficiency.cli.tables import Field
from helm_efficiency.defaults import DEFAULT_STORE
from helm_efficiency.metrics.quantities import COUNT

if TYPE_CHECKING:
    from helm_efficiency.core.fitting.fit import Fit
    from helm_efficiency.core.measurement import Profile
    from helm_efficiency.formats.detect import Found
    from helm_efficiency.store import Store


_FIELDS = (
    Field("deployment", "Deployment"),
    Field("stack", "Stack", None, 1),
    Field("what", "What", None, 2),
    Field("measurements", "Measurements", COUNT),
    Field("num_accelerators", "Accelerators", COUNT, 4),
    Field("prompt_lengths", "Prompt lengths", COUNT, 5),
    Field("output_lengths", "Output lengths", COUNT, 5),
    Field("source", "Source", None, 9),
)


@app.command("import", rich_help_panel="Manage")
def import_files(
    files: Annotated[list[str], "Logs, CSV, JSON of many tools; or the word helm-packaged."],
    *,
    deployment: Annotated[str | None, "Deployment that was measured; replaces what the files say."] = None,
    stack: Annotated[str | None, "Stack of it, such as a100-80gb-vllm-bf16; replaces what the files say."] = None,
    num_accelerators: Annotated[
        int | None, typer.Option(min=1, help="Accelerators that it occupied; 1 in a CSV.")
    ] = None,
    prices: PricesOption = None,
    store: StoreOption = DEFAULT_STORE,
    format: FormatOption = Format.table,
) -> None:
    """Bring measurements or coefficients from elsewhere into the store: all of the files, or none.

    Reads the logs of the paper, CSV of measurements, the table of Splitwise, JSON as export and profile write it,
    results of benchmark tools (vLLM, SGLang, GuideLLM, AIPerf, inference-perf, trtllm-bench, InferenceMAX,
    optimum-benchmark, llama-bench), and coefficients of HELM: helm-packaged names the two tables inside crfm-helm.

    Example: helm-efficiency example && helm-efficiency import example/measurements.csv --deployment me/mine --stack
    a100-80gb
    """
    from helm_efficiency.formats.detect import read_coefficient_files
    from helm_efficiency.store import Store

    found = read_coefficient_files(
        files,
        deployment=deployment,
        stack_name=stack,
        num_accelerators=num_accelerators,
        accelerator_file=prices,
    )
    opened = Store(store)
    num_replaced = _num_replaced(opened, found)
    opened.put_all(found.profiles, found.fits)
    rows = [*map(_imported_profile, found.profiles), *map(_imported_fit, found.fits)]
    emit(rows, format, _FIELDS)
    if num_replaced:
        note(f"{num_replaced} of them stand in place of earlier ones of the same deployment and stack.")
    if found.profiles:
        note(f"Measurements are in {store}. Next: helm-efficiency fit --store {store}")


def _num_replaced(store: "Store", found: "Found") -> int:
    known = store.stored_at()
    return sum((item.deployment, item.stack.name) in known["profiles"] for item in found.profiles) + sum(
        (item.deployment, item.stack.name) in known["fits"] for item in found.fits
    )


def _imported_profile(profile: "Profile") -> dict[str, Any]:
    cells = profile.cells()
    return {
        "deployment": profile.deployment,
        "stack": profile.stack.name,
        "what": "measurements",
        "num_accelerators": profile.stack.num_accelerators,
        "measurements": len(profile.measurements),
        "prompt_lengths": len({p for p, _, _ in cells}),
        "output_lengths": len({o for _, o, _ in cells}),
        "source": profile.source,
    }


def _imported_fit(fit: "Fit") -> dict[str, Any]:
    return {
        "deployment": fit.deployment,
        "stack": fit.stack.name,
        "what": "coefficients",
        "num_accelerators": fit.stack.num_accelerators,
        "source": fit.source,
    }
