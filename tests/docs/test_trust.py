"""docs/trust.md: its commands work, and each of its figures is what they, or a benchmark's raw results, say."""

import json
import statistics
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import _harness
import pytest
from helpers import pages

PAGE = pages.ROOT / "docs" / "trust.md"
PROTOCOLS = {
    "leave-one-knot-out": "each inner prompt length, in turn",
    "few-knots": "all prompt lengths but 1, 256, 512, 1024 and 1536",
    "extrapolation": "prompts above 55% of the longest",
}
YALM = "together/yalm"


def percent(value: float, digits: int = 1) -> str:
    return f"{100 * value:.{digits}f}%"


def results(name: str) -> Any:
    return json.loads((_harness.RESULTS / f"{name}.json").read_text())["results"]


def require_rows(rows: Iterable[str], page: Path = PAGE) -> None:
    """Fail with the rows as they should be."""
    text = page.read_text(encoding="utf-8").replace("\n", " ")
    stale = [row for row in rows if row not in text]
    assert stale == [], f"{page.name} says otherwise; the figures are now:\n" + "\n".join(stale)


def prefill_rows(scores: list[dict[str, Any]]) -> Iterable[str]:
    """Means over the paper's nine profiles of each accelerator."""
    for protocol, title in PROTOCOLS.items():
        for accelerator in ("a100-80gb", "v100-32gb"):
            for rule in ("auto", "helm"):
                (mean,) = (
                    s
                    for s in scores
                    if (s["deployment"], s["protocol"], s["rule"]) == ("mean", protocol, rule)
                    and s["stack"] == f"{accelerator}-megatron-fp16"
                )
                cells = [
                    title if (accelerator, rule) == ("a100-80gb", "auto") else "",
                    accelerator[:4].upper() if rule == "auto" else "",
                    f"`{rule}`",
                    percent(mean["one_token_error_fraction"]),
                    percent(mean["end_to_end_error_fraction"], 2),
                    percent(mean["coverage_fraction"]),
                    percent(mean["half_width_fraction"]),
                ]
                yield f"| {' | '.join(cells)} |"


def splitwise_rows(scores: list[dict[str, Any]]) -> Iterable[str]:
    """Ranges and means over its eight profiles."""
    for protocol in ("leave-one-knot-out", "extrapolation"):
        for rule in ("auto", "helm"):
            of = [
                s
                for s in scores
                if "splitwise" in s["stack"]
                and s["deployment"] != "mean"
                and (s["protocol"], s["rule"]) == (protocol, rule)
            ]
            assert len(of) == 8
            errors = [s["end_to_end_error_fraction"] for s in of]
            held = sum(s["coverage_fraction"] * s["num_requests"] for s in of)
            cells = [
                PROTOCOLS[protocol] if rule == "auto" else "",
                f"`{rule}`",
                percent(statistics.mean(s["one_token_error_fraction"] for s in of)),
                f"{percent(statistics.mean(errors))} ({percent(min(errors))} to {percent(max(errors))})",
                f"{held:.0f} of {sum(s['num_requests'] for s in of)}",
            ]
            yield f"| {' | '.join(cells)} |"


def transfer_rows(kept: dict[str, Any]) -> Iterable[str]:
    """Means over the paper's models without YaLM, and YaLM by itself."""
    for accelerator in ("A100", "V100"):
        rows = kept[accelerator.lower()]["left_out"]
        for title, of in (
            (accelerator, [r for r in rows if r["deployment"] != YALM]),
            (f"{accelerator}, YaLM", [r for r in rows if r["deployment"] == YALM]),
        ):
            errors, covered = [r["error_fraction"] for r in of], [r["covered_fraction"] for r in of]
            worst = len(of) > 1
            cells = [
                title,
                f"{len(of)} × {of[0]['num_cells']}",
                percent(statistics.mean(r["first_token_error_fraction"] for r in of)),
                percent(statistics.mean(errors)) + f" ({percent(max(errors))})" * worst,
                percent(statistics.mean(covered), 0) + f" ({percent(min(covered), 0)})" * worst,
                percent(statistics.mean(r["half_width_fraction"] for r in of)),
            ]
            yield f"| {' | '.join(cells)} |"


def less_rows() -> Iterable[str]:
    """What `benchmarks/transfer.py` kept."""
    kept = results("transfer")
    a100, v100 = kept["a100"], kept["v100"]
    cell, one = "(512, 16)", "1"
    yield f"| the model itself, one cell | {percent(a100['own_cells'][cell])} | {percent(v100['own_cells'][cell])} |"
    for count, title in (("4", "four other models"), ("2", "two other models"), ("1", "one other model")):
        yield f"| {title} | {percent(a100['other_models'][count])} | {percent(v100['other_models'][count])} |"
    for key, title in (
        ("none", "none on one accelerator, for models on one"),
        ("one", "the same, with one such model"),
    ):
        yield f"| {title} | {percent(a100['degrees'][one][key])} | {percent(v100['degrees'][one][key])} |"
    errors, held = ([row[key] for row in kept["splitwise"]] for key in ("error_fraction", "covered_fraction"))
    off, inside = (f"{percent(min(of), 0)} to {percent(max(of), 0)}" for of in (errors, held))
    half = [row["half_width_fraction"] for row in kept["splitwise"]]
    yield f"{off} off, with {inside} of the cells inside"
    yield f"an interval of ±{percent(min(half), 0)} to ±{percent(max(half), 0)}"


def denoising_rows() -> Iterable[str]:
    """Over all kinds of contention and all coefficients, by share of contended requests."""
    rows = results("denoise")["rows"]
    for share in (0.05, 0.2, 0.5):
        of = [row for row in rows if row["contended_share"] == share]
        cells = [f"{share:.0%}"]
        for name in ("ours", "minimum", "mean"):
            bias = statistics.mean(abs(row[f"{name}_bias"]) for row in of)
            rmse = statistics.mean(row[f"{name}_rmse"] ** 2 for row in of) ** 0.5
            cells.append(f"{percent(bias)} / {percent(rmse)}")
        held = [row["ours_within"] for row in of]
        cells.append(f"{percent(statistics.mean(held))} ({percent(min(held), 0)} to {percent(max(held), 0)})")
        yield f"| {' | '.join(cells)} |"


def token_rows(requests: dict[str, list[dict[str, Any]]]) -> Iterable[str]:
    """Who counted in archives made by others."""
    for title, of in requests.items():
        failed = sum(not r["success"] for r in of)
        missing = sum(r["output_provenance"] == "missing" and r["success"] for r in of)
        doubtful = sum(bool(r["doubts"]) for r in of)
        usage = sum(r["output_provenance"] == "usage" for r in of)
        yield f"| {title} | {len(of)} | {usage} | {doubtful} | {missing} | {failed} |"


def readme_rows(scores: list[dict[str, Any]], kept: dict[str, Any]) -> Iterable[str]:
    """The README's extract."""

    def mean(accelerator: str, protocol: str, rule: str) -> dict[str, Any]:
        wanted = ("mean", f"{accelerator}-megatron-fp16", protocol, rule)
        (found,) = (s for s in scores if (s["deployment"], s["stack"], s["protocol"], s["rule"]) == wanted)
        return found

    def pair(of: dict[str, Any]) -> str:
        errors = of["end_to_end_error_fraction"], of["one_token_error_fraction"]
        return ", ".join(f"{100 * error:#.2g}".rstrip(".") + "%" for error in errors)

    for accelerator in ("a100-80gb", "v100-32gb"):
        ours, helm = (mean(accelerator, "leave-one-knot-out", rule) for rule in ("auto", "helm"))
        yield f"| {pair(ours)} | {pair(helm)} |"
    ours, helm = (mean("a100-80gb", "few-knots", rule)["end_to_end_error_fraction"] for rule in ("auto", "helm"))
    yield f"| {100 * ours:.2g}% | {100 * helm:.2g}% |"
    covered = [
        mean(accelerator, protocol, "auto")["coverage_fraction"]
        for accelerator in ("a100-80gb", "v100-32gb")
        for protocol in ("leave-one-knot-out", "few-knots")
    ]
    yield f"| {percent(min(covered), 0)} to {percent(max(covered), 0)} |"
    errors = [
        statistics.mean(row["error_fraction"] for row in kept[name]["left_out"] if row["deployment"] != YALM)
        for name in ("a100", "v100")
    ]
    yield f"| {', '.join(map(percent, errors))} |"


@pytest.fixture
def said(reader: Callable[[Path], Path]) -> Callable[[str], Any]:
    """What the page's commands wrote, by file."""
    reader(PAGE)
    pages.run_page(PAGE)
    return lambda name: json.loads(Path(name).read_text())


def test_figures_that_commands_print(said: Callable[[str], Any]) -> None:
    require_rows(splitwise_rows(said("splitwise.json")))
    require_rows(
        token_rows(
            {
                "HELM, 18 runs of 2024 and 2025": said("helm.json"),
                "Inspect, 3 logs with samples": said("inspect.json"),
                "LLMPerf, 19 files": said("llmperf.json"),
            }
        )
    )


def modern_rows() -> Iterable[str]:
    """What `benchmarks/modern.py` kept of time per output token, and of first tokens."""
    kept = results("modern")
    rows = {
        "model": kept["time"]["model left out"],
        "accelerator": kept["time"]["accelerator left out"],
        "engine": kept["time"]["engine left out"],
        "source": kept["time"]["source left out"],
        **{f"model: {name}": kept["groups"]["time"][name] for name in ("dense", "mixture of experts", "fp8", "fp4")},
        "Llama 3.1, Qwen3-32B": kept["untouched_groups"]["time"]["dense"],
        "gpt-oss": kept["untouched_groups"]["time"]["mxfp4"],
        "model: first token": kept["first"]["model left out"],
    }
    for name, row in rows.items():
        ours, peer = (f"{percent(row[f'{of}mean'])} ({percent(row[f'{of}median'])})" for of in ("", "peer_"))
        peer = "" if "first" in name else peer
        yield f"| {name} | {ours} | {peer} | {percent(row['covered'], 0)} | {percent(row['half_width'], 0)} |"


def test_figures_of_benchmarks() -> None:
    require_rows(prefill_rows(results("runtime_models")["rows"]))
    require_rows(readme_rows(results("runtime_models")["rows"], results("transfer")), pages.ROOT / "README.md")
    require_rows(modern_rows())
    require_rows(transfer_rows(results("transfer")))
    require_rows(less_rows())
    require_rows(denoising_rows())
