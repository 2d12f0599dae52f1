"""docs/benchmarks.md, and the table of docs/denoising.md, from the raw results alone.

python benchmarks/page.py
"""

import json
from pathlib import Path
from typing import Any

import cost_per_correct
import denoise
import design
import energy
import predict
import read
import rescore
import roofline
import runtime_models
import serving
import start_up
import transfer
from _harness import RESULTS, ROOT, table

PAGE = ROOT / "docs" / "benchmarks.md"
DENOISING_PAGE = ROOT / "docs" / "denoising.md"
HEADINGS = {
    "Re-scoring": rescore,
    "Reading": read,
    "Prediction": predict,
    "Start-up": start_up,
    "Runtime models": runtime_models,
    "Cheap profiling": design,
    "Transfer": transfer,
    "Roofline": roofline,
    "At load": serving,
    "Energy": energy,
    "Denoising": denoise,
    "Cost of a correct answer": cost_per_correct,
}
BENCHMARKS = {module.BENCHMARK.name: module.BENCHMARK for module in HEADINGS.values()}
INTRODUCTION = """# Benchmarks

Made by `make bench` from the raw results in [benchmarks/results](../benchmarks/results), where every round, the seed,
all versions and facts of the machine are kept; `python benchmarks/run_all.py --write-only` makes this page again. Each
benchmark runs beside its peer in the same run, and ratios come first: they move less from one machine to another than
seconds do. Real logs and runs are found by `HELM_EFFICIENCY_DATA`.
"""


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Raw results by name of the benchmark; those that are not there are left out."""
    paths = {name: folder / f"{name}.json" for name in BENCHMARKS}
    return {name: json.loads(path.read_bytes()) for name, path in paths.items() if path.exists()}


def page(documents: dict[str, dict[str, Any]]) -> str:
    """The whole page."""
    parts = [INTRODUCTION]
    for heading, module in HEADINGS.items():
        if document := documents.get(module.BENCHMARK.name):
            file = f"benchmarks/{module.__name__}.py"
            parts.append(f"## {heading}\n\n{module.section(document['results'])}\n\nMade by `{file}`.\n")
    return "\n".join([*parts, "## How they were taken\n", provenance(documents)]) + "\n"


def provenance(documents: dict[str, dict[str, Any]]) -> str:
    """When, where and with what each benchmark was run."""
    rows = []
    for name, document in documents.items():
        machine, versions = document["machine"], document["versions"]
        hardware = f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
        software = f"Python {versions['python']}, crfm-helm {versions['crfm-helm']}"
        quick = " (quick: of little worth)" if document["quick"] else ""
        taken = [document["date"], f"`{document['commit']}`", hardware, f"{machine['load_before']}", software]
        rows.append([name + quick, *taken, f"{document['seconds']:.0f} s"])
    return table(["benchmark", "date", "commit", "machine", "load before", "versions", "took"], rows)


def denoising_page(text: str, results: dict[str, Any]) -> str:
    """docs/denoising.md with the table that the results give in the place of the one it has."""
    made = denoise.markdown(results["rows"]).splitlines()
    lines = text.splitlines()
    first = lines.index(made[0])
    last = next((i for i, line in enumerate(lines) if i > first and not line.startswith("|")), len(lines))
    return "\n".join([*lines[:first], *made, *lines[last:]]) + "\n"


def write(folder: Path = RESULTS) -> None:
    """Write both pages."""
    documents = load(folder)
    PAGE.write_text(page(documents), encoding="utf-8")
    if "denoise" in documents:
        text = denoising_page(DENOISING_PAGE.read_text(encoding="utf-8"), documents["denoise"]["results"])
        DENOISING_PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write()
