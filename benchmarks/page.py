"""docs/benchmarks.md, and benchmarks/results/denoise.md with its largest table, from the raw results alone.

python benchmarks/page.py
"""

import json
from pathlib import Path
from typing import Any

import boards
import cost_per_correct
import denoise
import design
import energy
import modern
import predict
import read
import rescore
import roofline
import runtime_models
import serving
import start_up
import transfer
from _harness import RESULTS, ROOT

PAGE = ROOT / "docs" / "benchmarks.md"
DENOISING_PAGE = RESULTS / "denoise.md"
HEADINGS = {
    "Re-scoring": rescore,
    "Many small runs": boards,
    "Reading": read,
    "Prediction": predict,
    "Start-up": start_up,
    "Runtime models": runtime_models,
    "Cheap profiling": design,
    "Transfer": transfer,
    "Roofline": roofline,
    "Simulated stacks": modern,
    "At load": serving,
    "Energy": energy,
    "Denoising": denoise,
    "Cost of a correct answer": cost_per_correct,
}
BENCHMARKS = {module.BENCHMARK.name: module.BENCHMARK for module in HEADINGS.values()}
INTRODUCTION = """# Benchmarks

Made by `make bench` from [benchmarks/results](../benchmarks/results), which also say how busy the machine was. Each
benchmark runs beside its peer; ratios move less between machines than seconds do.
"""
DENOISING = """# Denoising, by kind of contention, share of requests and coefficient

Bias and root mean square error (RMSE) are fractions of the true coefficient. *As close* is the share of services in
which the minimum or the mean over trials is as close to the truth as our interval is wide. `drift`: a queue, and a
service that becomes 20% faster half-way; the truth is the service as it is last. `context`: a queue, and decode steps
of 30 ms and 0.01 ms more for each token that they look back on; decode is that after 512 tokens.

"""


def load(folder: Path) -> dict[str, dict[str, Any]]:
    """Raw results by name of the benchmark; those that are not there are left out."""
    paths = {name: folder / f"{name}.json" for name in BENCHMARKS}
    return {name: json.loads(path.read_bytes()) for name, path in paths.items() if path.exists()}


def page(documents: dict[str, dict[str, Any]]) -> str:
    """Return the whole page."""
    parts = [INTRODUCTION, f"{machines(documents)}\n"]
    for heading, module in HEADINGS.items():
        if document := documents.get(module.BENCHMARK.name):
            made = provenance(f"benchmarks/{module.__name__}.py", document)
            parts.append(f"## {heading}\n\n{module.section(document['results'])}\n\n{made}\n")
    return "\n".join(parts)


def machines(documents: dict[str, dict[str, Any]]) -> str:
    """Return a sentence on where the benchmarks were run."""
    found = {(document["versions"]["python"], document["versions"]["crfm-helm"]) for document in documents.values()}
    hardware = {
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB"
        for machine in (document["machine"] for document in documents.values())
    }
    software = (f"Python {python}, crfm-helm {helm}" for python, helm in sorted(found))
    return f"Taken on {'; '.join(sorted(hardware))}, with {'; '.join(software)}."


def provenance(file: str, document: dict[str, Any]) -> str:
    """Return a line on the date and the commit of a benchmark."""
    quick = " (quick: of little worth)" if document["quick"] else ""
    return f"`{file}`{quick}, {document['date']}, `{document['commit']}`"


def denoising_page(results: dict[str, Any]) -> str:
    """Return the page with a row for each coefficient."""
    return DENOISING + denoise.markdown(results["rows"]) + "\n"


def write(folder: Path = RESULTS) -> None:
    """Write both pages."""
    documents = load(folder)
    PAGE.write_text(page(documents), encoding="utf-8")
    if "denoise" in documents:
        DENOISING_PAGE.write_text(denoising_page(documents["denoise"]["results"]), encoding="utf-8")


if __name__ == "__main__":
    write()
